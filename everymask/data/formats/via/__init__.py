"""VIA, the VGG Image Annotator, versions 1 and 2."""

"""TIFF files of several pages that hold masks."""

"""CVAT's own XML: for images and for video, version 1.1."""

"""YOLO segmentation folders."""

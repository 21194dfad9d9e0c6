"""Pascal VOC: objects, boxes and class maps."""

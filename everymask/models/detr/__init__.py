"""RF-DETR: queries that each answer with classes, a box and a mask."""

"""Other programs' Faster and Mask R-CNN as ours: their names, their classes, their behaviour."""

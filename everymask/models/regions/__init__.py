"""Networks that find objects by regions: Faster R-CNN and Mask R-CNN."""

"""Networks that find objects by regions: R-CNN, Fast R-CNN, Faster R-CNN and Mask R-CNN."""

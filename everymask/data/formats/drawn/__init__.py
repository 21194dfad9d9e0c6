"""Reading and writing what annotation programs draw: outlines, boxes, masks, one file for many pictures."""

"""Files to data sets and back: one room or file per format, and the table that recognises them."""

"""Open Images: a table of masks, each in a PNG of its own."""

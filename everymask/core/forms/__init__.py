"""The forms in which masks are stored and drawn: run lengths, edges, outlines, polygons."""

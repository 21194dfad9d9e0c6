"""Networks whose queries each answer with a class and a mask."""

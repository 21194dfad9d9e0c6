"""`everymask predict` with a network that answers prompts: everything, or the points and boxes of a file."""

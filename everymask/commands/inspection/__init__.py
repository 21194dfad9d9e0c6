"""`everymask inspect`."""

"""The doctor: what is in a data set, what is odd in it, and what training makes of that."""

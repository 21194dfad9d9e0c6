"""Several processes that work on one thing: which one this is, and what they say to each other."""

"""A network looked into: what becomes of one picture step by step, as arrays and as one page."""

"""The tasks: one frozen value each, which says all that differs between objects and label maps. Never torch."""

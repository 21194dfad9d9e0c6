"""What a model found, and the folders into which it is written. Numpy, never torch."""

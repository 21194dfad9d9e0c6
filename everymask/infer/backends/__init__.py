"""What calculates networks: the protocol, what crosses as arrays, and PyTorch as the first backend."""

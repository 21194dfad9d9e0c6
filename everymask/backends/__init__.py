"""What can run a network: PyTorch, the first. The protocol is `everymask.infer.backend`."""

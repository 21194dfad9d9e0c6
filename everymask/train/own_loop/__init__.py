"""What a training loop of one's own takes of everymask: data as PyTorch and torchvision know them."""

"""What methods without a network learn: the settings of a threshold, the trees of a forest. Torch-free."""

"""From samples to what a network is fed: varied for training, resized, normalised, cut out."""

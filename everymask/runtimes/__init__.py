"""Exported networks without PyTorch: bundles, and the runtimes that calculate what is in them."""

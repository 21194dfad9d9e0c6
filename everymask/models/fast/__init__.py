"""Faster ways to calculate the same convolutions."""

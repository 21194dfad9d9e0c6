"""Panoptic quality: how well segments agree that share no pixel and of which each has a class."""

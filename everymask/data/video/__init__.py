"""Frames of videos: files that are read forwards and backwards, and pictures in the order of their numbers."""

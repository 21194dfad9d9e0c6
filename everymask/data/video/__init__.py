"""Frames of video files, read forwards and backwards."""

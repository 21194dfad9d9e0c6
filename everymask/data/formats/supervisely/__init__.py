"""Supervisely's projects."""

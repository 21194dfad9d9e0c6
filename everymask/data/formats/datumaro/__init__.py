"""Datumaro's own JSON files."""

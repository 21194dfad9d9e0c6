"""Detectors that find objects in one look: no proposals, no regions."""

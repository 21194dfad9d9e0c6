"""Tables of masks as run-lengths: a row per object."""

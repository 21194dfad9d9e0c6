"""`everymask export`: trained models as files that other programs run."""

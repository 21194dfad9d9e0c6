"""`everymask runs`, and trainings that are several runs."""

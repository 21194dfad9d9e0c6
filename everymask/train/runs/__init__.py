"""Many trainings: what lies in a folder of runs, and lists of runs that are trained one after the other."""

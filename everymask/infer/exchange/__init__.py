"""Results in the types of other packages, each of which is imported when it is asked for; and back."""

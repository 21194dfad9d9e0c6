"""What the options of `everymask convert` mean, and what it says at the end."""

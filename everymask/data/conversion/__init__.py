"""What `everymask convert` does to a data set on its way to another format, and what it measures of that."""

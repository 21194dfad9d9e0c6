"""What a path means: files by the names that annotations give them, archives, and what is no data set for us."""

"""labelme files."""

"""What belongs to pictures of one place at two dates: how changes are stored, scenes, shifts, and made pairs."""

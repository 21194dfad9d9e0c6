"""Other programs' networks of label maps as ours."""

"""Other programs' checkpoints for networks of ours."""

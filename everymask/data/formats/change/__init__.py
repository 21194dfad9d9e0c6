"""Pictures of one place at two dates, and what changed between them."""

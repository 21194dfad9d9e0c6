"""How well it was found what changed between two dates."""

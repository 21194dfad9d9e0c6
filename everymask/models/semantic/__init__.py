"""Networks that say of every pixel what it is."""

"""Networks that find things one by one and stuff, a file each."""

"""Published weights of other programs, a row each."""

"""The addresses of a service, by who speaks to them."""

"""How to build each network: frozen values, never torch."""

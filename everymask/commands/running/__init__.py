"""How a model is run where its options leave that open."""

"""From a trained network to files that other programs run: graphs, checked by the runtime that will serve them."""

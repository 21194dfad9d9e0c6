"""Methods without a network: thresholds, regions, edges, clusters, and a forest of pixels. Never torch."""

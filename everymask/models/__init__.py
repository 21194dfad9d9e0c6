"""Networks. `specs` and `catalog` are plain data and never import torch; the rest is torch."""

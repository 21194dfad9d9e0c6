"""`everymask predict --engine`: predictions in shards, by processes of this machine or on Ray."""

"""Prediction of more pictures than one process has time for: what is shared in shards, and who calculates them.

`listing` finds the pictures, `shard_work` predicts one shard, and an engine hands shards out: `local` to processes,
`on_ray` to the actors of a cluster. `prediction` puts them together.
"""

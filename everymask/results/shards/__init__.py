"""Predictions of many pictures in shards: what is to be done, what is done, and the tables that come of it.

    OUT/plan.json             how many pictures and shards there are, and how they are predicted
    OUT/plan/00000.json       the pictures of a shard
    OUT/parts/00000/          what is done of a shard that is not finished, block by block, and which blocks were begun
    OUT/predictions/00000.*   the table of a finished shard; OUT/pictures/00000.parquet has a line for each picture
    OUT/done/00000.json       the shard is finished, and what it shows

A file is written whole or not at all, and once it is there it never changes: so whatever dies leaves what is done, and
whoever goes on knows what that is. Which pictures make a shard follows from their paths alone.
"""

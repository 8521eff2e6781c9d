"""The shards of a plan on a Ray cluster."""

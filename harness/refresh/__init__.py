"""Refresh: what is submitted and not measured → workers without secrets → rows, and the board."""

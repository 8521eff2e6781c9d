"""Outcomes as Parquet, the scores they give, and predictions in the layout of XTREME."""

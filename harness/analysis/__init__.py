"""Outcomes and submissions → entries, standings, contrasts, comparisons: no words or pictures."""

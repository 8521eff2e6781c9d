"""Pure functions from per-example facts to metrics."""

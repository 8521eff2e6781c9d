"""A model name → a checkpoint: pinned, vetted, and loaded with every weight it needs."""

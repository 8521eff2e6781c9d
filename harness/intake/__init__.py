"""A checkpoint that somebody offers → a vetted submission."""

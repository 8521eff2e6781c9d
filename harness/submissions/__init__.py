"""A checkpoint that somebody offers → its vetted submission."""

"""Training files → examples → features."""

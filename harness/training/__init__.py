"""Intermediate-task training: card → examples → features → steps → an ordinary checkpoint."""

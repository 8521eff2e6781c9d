"""Texts → vectors, and questions with their contexts → answer spans."""

"""Paired statistics: two sets of outcomes → differences, intervals, tests, ranks."""

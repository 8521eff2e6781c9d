"""The leaderboard: outcomes and submissions → scores, contrasts, pages."""

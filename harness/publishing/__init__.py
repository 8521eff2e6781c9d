"""Results back to the Hub: rows, scores, `.eval_results` and a model-card block, as proposals."""

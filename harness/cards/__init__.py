"""`tasks/` → frozen models: task cards, training cards, target recipes and languages."""

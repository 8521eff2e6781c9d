"""How well a checkpoint's layers align translations."""

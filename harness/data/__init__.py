"""A task card → its pinned and checksummed files → examples."""

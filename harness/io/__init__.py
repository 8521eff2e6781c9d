"""Files, downloads, the Hub, caches and the environment: what touches machine and network."""

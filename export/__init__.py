"""From weights to a bundle: `python -m export MODEL`. It imports `common` alone; nothing imports it."""

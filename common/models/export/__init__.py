"""From weights to a bundle: `python -m common.models.export MODEL`. The function itself never imports this package."""

"""Export a model's weights to a bundle: `python -m export MODEL`.

This package imports only `common`, and `common` and `functions` never import it.
"""

# `common` comes first: it switches telemetry off before onnxruntime is imported.
import common  # noqa: F401

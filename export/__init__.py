"""From weights to a bundle: `python -m export MODEL`. It imports `common` alone; nothing imports it."""

import common  # noqa: F401 - first: it switches telemetry off, before onnxruntime is imported

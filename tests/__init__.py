"""The tests and the benchmarks. Whatever of it is imported, `common` is first: it switches telemetry off."""

import common

__all__ = ["common"]

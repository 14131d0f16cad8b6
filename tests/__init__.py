"""The tests and the benchmarks. It imports `common` first, which switches telemetry off."""

import common

__all__ = ["common"]

"""How long the tests wait for what takes a moment: a busy machine may need many times as long.

What is not bounded at all, in the tests that assert a bound, never ends.
"""

PATIENCE_S = 20.0

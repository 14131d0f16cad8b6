"""`make bench-peers`: the function beside what its users would install instead.

Each peer runs in an environment of its own, build/peers/NAME, made from the pinned NAME.txt here.
"""

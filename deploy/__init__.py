"""Deploys a clone as a running function.

`package` writes the folder that is uploaded, `submit` sends it to Cloud Build, and `rollout` moves
the traffic.
"""

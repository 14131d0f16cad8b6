"""The name and the version of this project; they stand here alone."""

SERVICE = "clip-embedding-function"
VERSION = "0.2.0"

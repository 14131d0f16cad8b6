"""The name and the version of this project, defined only here."""

SERVICE = "clip-embedding-function"
VERSION = "0.2.0"

"""Downloads and decodes images from untrusted callers."""

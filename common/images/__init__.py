"""Fetching and decoding images that strangers chose."""

"""Embeds a corpus: many rows in, as many rows out, in parts that a killed run can continue from."""

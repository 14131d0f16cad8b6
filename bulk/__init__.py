"""Embeds a corpus row by row. Output comes in parts, so that a killed run can continue."""

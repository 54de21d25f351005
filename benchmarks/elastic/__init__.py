"""Pools that grow and shrink: what they save over a day, and what others have published of them."""

"""Figures: one module each, plain data in, a PNG file out."""

"""Measured profiles and the step-time model built from them."""

"""Measurements, each of which plays requests on a running engine and returns points."""

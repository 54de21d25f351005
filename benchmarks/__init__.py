"""Timings, kept out of the tests: their results depend on the machine."""

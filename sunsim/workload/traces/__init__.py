"""Traces: requests read from a file, in one of several formats.

Columns and keys are found by name; others are ignored. Every format gives its requests by arrival, with the line that
each stands in. In `csv`, this project's own, arrivals stay as they are written; in the others the first request of the
file arrives at 0.
"""

"""Sweeps: a scenario simulated for many values and seeds, on every core or on a cluster."""

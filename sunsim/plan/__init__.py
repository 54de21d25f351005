"""Capacity planning: the fewest GPUs that meet the SLO, the highest rate that they sustain, and how sure both are."""

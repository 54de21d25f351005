"""Results side by side: what differs in the input of runs, or of plans, and what in the outcome."""

"""Many simulations: what a point is, where it is simulated, and how it is kept."""

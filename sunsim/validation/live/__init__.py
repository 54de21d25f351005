"""Live clusters against their simulation: whole arms, routed in real time."""

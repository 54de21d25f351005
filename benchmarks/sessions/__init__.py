"""Published figures of serving conversations, against what is simulated."""

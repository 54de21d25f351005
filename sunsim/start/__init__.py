"""To begin with: a scenario of one's own to change, and those that are shipped."""

"""Requests in: popularity, arrivals and lengths drawn from named streams, or read from a trace."""

"""Measures on a real GPU what `sunsim` simulates; `sunsim` never imports it."""

"""Discrete-event simulation of disaggregated multi-LLM serving."""

__version__ = "0.1.0"

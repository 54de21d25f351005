"""Profiles of cards and models that nobody measured, from a measured one and the roofline of both."""

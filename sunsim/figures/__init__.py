"""The evaluation of SUN regenerated from measured profiles: one module a figure, and the claims."""

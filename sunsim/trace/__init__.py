"""The verbs `trace describe` and `trace convert`: what real traffic looks like, and the same in this project's format."""

"""YAML files of users: frozen blocks, and errors that say in which line."""

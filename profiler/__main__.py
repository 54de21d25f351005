"""`python -m profiler`."""

from profiler.cli import app

if __name__ == "__main__":
    app()

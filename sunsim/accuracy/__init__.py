"""How right models tuned in several ways answer: accuracy files, and what they say about the paper's claims.

``python -m profiler accuracy`` and ``evaluate`` measure them.
"""

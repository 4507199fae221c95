"""The speed table: `python -m experiments.speed`."""

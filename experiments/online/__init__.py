"""The study of online learning: `python -m experiments.online`."""

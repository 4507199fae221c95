"""Supervised fine-tuning on oracle-labelled trajectories, paper 1 (arXiv 2605.09009)."""

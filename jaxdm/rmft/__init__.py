"""Iterative regret-minimisation fine-tuning, paper 2 (arXiv 2511.04393)."""

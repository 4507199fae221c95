"""The study of regret-minimisation fine-tuning, paper 2: `python -m experiments.rmft`."""

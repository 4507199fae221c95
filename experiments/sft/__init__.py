"""The fine-tuning study, paper 1: `python -m experiments.sft`."""

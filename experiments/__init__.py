"""Experiments: each file opens with its figure, commands, cost and expectation."""

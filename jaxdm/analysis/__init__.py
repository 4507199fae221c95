"""What happens after a run, on the host and without jax: stored results, claims, intervals, exploration."""

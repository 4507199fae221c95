"""Theorems that run: each module has a `check` that holds and a `refute` that must fail."""

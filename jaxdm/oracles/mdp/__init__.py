"""Exact planning and evaluation in finite MDPs, with certificates."""

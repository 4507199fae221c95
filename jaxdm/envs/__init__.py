"""Worlds: pure simulators whose parameters are pytrees of arrays."""

"""Minds: attention networks behind the pure `Network` boundary."""

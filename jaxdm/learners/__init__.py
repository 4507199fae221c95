"""Rivals: classical learners that do not know the world."""

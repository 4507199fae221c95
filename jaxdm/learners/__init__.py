"""Classical learners, each an `Agent` with its parameters: what trained networks are compared with."""

from jaxdm.learners import bandit, exp3, imperfect, online, tabular, thompson

__all__ = ["bandit", "exp3", "imperfect", "online", "tabular", "thompson"]

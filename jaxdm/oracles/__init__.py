"""Truth: solvers that know the world and certify what they return. See `mdp`, `pomdp`, `apomdp`, `bandit`, `regret`."""

from jaxdm.oracles.graph_policy import GraphPolicy, HistoryGraph, graph_agent, nodes_along

__all__ = ["GraphPolicy", "HistoryGraph", "graph_agent", "nodes_along"]

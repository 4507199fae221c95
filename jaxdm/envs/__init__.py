"""Worlds: a record, its check and its simulator in a module each; instances come from `jaxdm.envs.families`."""

from jaxdm.envs import apomdp, bandit, cassandra, linear_mdp, mdp, online, pomdp, sparse_mdp

__all__ = ["apomdp", "bandit", "cassandra", "linear_mdp", "mdp", "online", "pomdp", "sparse_mdp"]

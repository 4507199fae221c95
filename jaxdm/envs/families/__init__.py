"""Families, `key -> instance`: one module for each kind of world, and the distributions of loss sequences.

from jaxdm.envs import families

families.mdp.garnet(key, states=20, actions=4, branching=3)
families.pomdp.tiger()
"""

from jaxdm.envs.families import apomdp, bandit, losses, mdp, pomdp, rooms

__all__ = ["apomdp", "bandit", "losses", "mdp", "pomdp", "rooms"]

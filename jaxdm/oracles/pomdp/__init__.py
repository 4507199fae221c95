"""Planning in POMDPs: exact on beliefs or histories, or between bounds."""

from jaxdm.oracles.pomdp.alpha_vectors import agent as alpha_vector_agent
from jaxdm.oracles.pomdp.alpha_vectors import myopic, qmdp
from jaxdm.oracles.pomdp.belief_graph import reachable
from jaxdm.oracles.pomdp.exact import plan, plan_endless, policy_value
from jaxdm.oracles.pomdp.history_tree import plan_tree, tree_value
from jaxdm.oracles.pomdp.point_based import solve as solve_point_based

__all__ = [
    "alpha_vector_agent",
    "myopic",
    "plan",
    "plan_endless",
    "plan_tree",
    "policy_value",
    "qmdp",
    "reachable",
    "solve_point_based",
    "tree_value",
]

"""Exact planning and evaluation in finite MDPs, with certificates; planners of sparse ones are in `sparse`."""

from jaxdm.oracles.mdp import sparse
from jaxdm.oracles.mdp.evaluation import finite_policy_evaluation, policy_evaluation, reach_probabilities
from jaxdm.oracles.mdp.planning import (
    backward_induction,
    backward_induction_staged,
    policy_iteration,
    value_iteration,
)

__all__ = [
    "backward_induction",
    "backward_induction_staged",
    "finite_policy_evaluation",
    "policy_evaluation",
    "policy_iteration",
    "reach_probabilities",
    "sparse",
    "value_iteration",
]

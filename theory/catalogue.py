"""From the id of a claim to the module that checks it: the only place where ids are written."""

from types import ModuleType

from theory.linear_attention import (
    l1_realisability,
    l2_preconditioned_regression,
    l3_training_optimum,
    l3b_dense_start,
    l4_any_features,
    l5_error_bound,
    l5_error_split,
    l5m_context_rate,
    l5n_length_rate,
    l6a_greedy_loss,
    l6b_suboptimality,
    l7_trained_layer,
    l7b_deployed_layer,
    l8a_covariate_shift,
    l8b_on_policy_contexts,
    l8c_softmax_attention,
    l8d_action_labels,
)
from theory.no_regret import (
    n1_attention_ftrl,
    n2_ftrl_regret,
    n10_equilibrium,
    o1_hedge_regret,
    o2_ucb_regret,
    o3_exp3_regret,
)
from theory.partial_observability import a1_ambiguity_attitude, a2_more_models, p1_convexity, p2_observation_quality

CLAIMS: dict[str, ModuleType] = {
    "L1": l1_realisability,
    "L2": l2_preconditioned_regression,
    "L3": l3_training_optimum,
    "L3b": l3b_dense_start,
    "L4": l4_any_features,
    "L5": l5_error_split,
    "L5-M": l5m_context_rate,
    "L5-N": l5n_length_rate,
    "L5-bound": l5_error_bound,
    "L6a": l6a_greedy_loss,
    "L6b": l6b_suboptimality,
    "L7": l7_trained_layer,
    "L7b": l7b_deployed_layer,
    "L8a": l8a_covariate_shift,
    "L8b": l8b_on_policy_contexts,
    "L8c": l8c_softmax_attention,
    "L8d": l8d_action_labels,
    "N1": n1_attention_ftrl,
    "N2": n2_ftrl_regret,
    "N10": n10_equilibrium,
    "P1": p1_convexity,
    "P2": p2_observation_quality,
    "A1": a1_ambiguity_attitude,
    "A2": a2_more_models,
    "O1": o1_hedge_regret,
    "O2": o2_ucb_regret,
    "O3": o3_exp3_regret,
}

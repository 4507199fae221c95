"""Planning under ambiguity by recursive alpha-maxmin expected utility: exact, or between certified bounds."""

from jaxdm.oracles.apomdp.bounds import grid_bounds, window_bounds
from jaxdm.oracles.apomdp.evaluation import agent_probabilities, evaluate, simulate
from jaxdm.oracles.apomdp.history_graph import merged
from jaxdm.oracles.apomdp.history_graph import plan as plan_merged
from jaxdm.oracles.apomdp.history_tree import plan as plan_tree
from jaxdm.oracles.apomdp.information_states import plan as plan_on_graph
from jaxdm.oracles.apomdp.lookahead import agent as look_ahead_agent
from jaxdm.oracles.apomdp.lookahead import look_ahead

__all__ = [
    "agent_probabilities",
    "evaluate",
    "grid_bounds",
    "look_ahead",
    "look_ahead_agent",
    "merged",
    "plan_merged",
    "plan_on_graph",
    "plan_tree",
    "simulate",
    "window_bounds",
]

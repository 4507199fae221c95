"""L6a. What greedy play on estimated Q-values loses, draw by draw.

Statement. Let `pi_h(s) = argmax_a Q_hat_h(s,a)`. Then `V*_1 - V^pi_1 <= 2 sum_h E[max_a |Q_hat_h - Q*_h|(s_h, a)]`, the
states `s_h` being those that pi visits.

Assumptions. None on the estimates; here the layer reads them off a random context in a linear MDP.

Proof. By the performance-difference identity the loss is `sum_h E[Q*_h(s_h, a*) - Q*_h(s_h, a_h)]` along greedy play,
a* the optimal action and a_h the greedy one. Adding and subtracting the estimates leaves three differences,

    (Q*_h - Q_hat_h)(a*) + (Q_hat_h(a*) - Q_hat_h(a_h)) + (Q_hat_h - Q*_h)(a_h).

The middle one is not positive, for a_h is greedy, and each of the others is at most the largest error: hence the 2.
Both errors may be as large, with opposite signs, so that no smaller constant would do.

Check. Values and visits by exact dynamic programming, in three settings. One has a single step and few states, where
the inequality is closest to equality. In one, moves are deterministic and begin in one state, so that greedy play
leaves the states of the initial distribution. No draw may earn more than V*.

Refutation. Without the factor 2, found by searching through the draws. In the deterministic setting the errors at the
initial distribution's states, in place of those visited, are no bound.

Source. Ours, after Kakade and Langford, 2002, lemma 6.1; it is the first half of paper 1's end-to-end bound.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from jaxdm.analysis.claims import FAILS, Claim
from jaxdm.envs.linear_mdp import LinearMDP
from theory import draws
from theory.linear_attention import greedy_play, linear_mdps
from theory.verdicts import at_most

SETTINGS = (
    ((2, 2, 2, 1), 3, 2.0, linear_mdps.dense),
    ((8, 3, 4, 5), 20, 10.0, linear_mdps.dense),
    ((2, 2, 4, 2), 8, 1e6, linear_mdps.deterministic),
)
"""(S, A, d, H), M, N and the kind of MDP."""


CHUNK = 500
"""MDPs solved at once."""


CONTEXTS = 10
"""Contexts of every MDP and setting."""


ROUNDING = 1e-9
"""Relative: values are certified to 1e-13, and losses and errors far smaller than 1e-4 do not decide the maximum."""


SMALLEST = 1e-12
"""Sum of errors below which it is rounding: some contexts hold every pair as often as the layer expects."""


class GreedyLossForm(NamedTuple):
    """The stated bound: `factor * (sum over all steps, or the first alone)`."""

    factor: float = 2.0
    later: float = 1.0  # weight of the steps after the first
    visited: bool = True  # whether errors count where greedy play goes, or where it begins


STATED = GreedyLossForm()


WRONG = {
    "factor 1": GreedyLossForm(factor=1.0),
    "factor 1.5": GreedyLossForm(factor=1.5),
    "factor 0.5": GreedyLossForm(factor=0.5),
    "no factor, half of the later steps": GreedyLossForm(factor=1.0, later=0.5),
    "first step alone": GreedyLossForm(later=0.0),
    "the initial distribution at every step": GreedyLossForm(visited=False),
}


def check(key: jax.Array, samples: int = 500, form: GreedyLossForm = STATED) -> Claim:
    """The largest share of the bound that a draw loses.

    Args:
        key: random key.
        samples: random linear MDPs of every setting, each met with ten contexts.
        form: what is claimed.
    """
    shares, gaps = [], []
    for index, (size, context, length, draw) in enumerate(SETTINGS):
        found = outcomes(jax.random.fold_in(key, index), size, context, length, draw, samples)
        error = found.error if form.visited else found.initial_error
        bound = form.factor * (found.first_error + form.later * (error - found.first_error))
        gaps.append(found.gap.ravel())
        shares.append((found.gap / np.maximum(bound, SMALLEST)).ravel())
    shares = np.concatenate(shares)
    middle = float(np.median(shares))
    bound = "`V* - V <= 2 sum_h E max_a |Q_hat_h - Q*_h|`"
    statement = f"{bound}, in each of {shares.size} draws: share of it (median {middle:.2g})"
    claim = at_most(statement, "ours, after Kakade, Langford 2002", float(shares.max()), 1.0, ROUNDING)
    return claim if np.concatenate(gaps).min() >= -ROUNDING else claim._replace(verdict=FAILS)


@draws.once
def outcomes(
    key: jax.Array,
    size: tuple[int, int, int, int],
    context: int,
    length: float,
    draw: Callable[[jax.Array, tuple[int, int, int, int]], LinearMDP],
    samples: int,
) -> greedy_play.GreedyOutcome:
    """Outcomes of greedy play, leading axes [samples, contexts]."""

    def measure(key: jax.Array, count: int) -> greedy_play.GreedyOutcome:
        key_worlds, key_contexts = draws.keys(key)
        worlds = linear_mdps.instances(key_worlds, size, length, count, draw)
        chosen = greedy_play.contexts(key_contexts, worlds, (count, CONTEXTS, context))
        return greedy_play.outcomes(worlds, greedy_play.estimates(worlds, chosen))

    return draws.in_chunks(measure, key, samples, CHUNK)

"""L6a. What greedy play on estimated Q-values loses, draw by draw.

For any estimates and the policy greedy on them, `V*_1 - V_1 <= 2 sum_h E[max_a |Q_hat_h - Q*_h|(s_h, a)]`, the states
being those that greedy play visits.
Proof: by the performance-difference identity the loss is `sum_h E[Q*_h(s_h, a*) - Q*_h(s_h, a_h)]` along greedy play;
adding and subtracting estimates, and `Q_hat_h(s_h, a*) <= Q_hat_h(s_h, a_h)`, leaves two errors, each at most the
largest.

The layer reads its estimates off random contexts in random linear MDPs; values and visits are by exact dynamic
programming. One size has a single step and few states: there the inequality is closest to equality, and there the
refutation, without the factor 2, is found by searching through draws.

Source: ours, after Kakade and Langford, 2002, lemma 6.1; it is the first half of paper 1's end-to-end bound.
"""

from typing import NamedTuple

import jax
import numpy as np

from jaxdm.analysis.claims import Claim
from theory import draws
from theory.linear_attention import greedy_play, linear_mdps
from theory.verdicts import at_most

SETTINGS = (((2, 2, 2, 1), 3, 2), ((8, 3, 4, 5), 20, 10))
"""(S, A, d, H), M and N."""


CHUNK = 500
"""MDPs solved at once."""


CONTEXTS = 10
"""Contexts of every MDP and setting."""


ROUNDING = 1e-9
"""Relative: values are certified to 1e-13, and losses and errors far smaller than 1e-4 do not decide the maximum."""


class GreedyLossForm(NamedTuple):
    """The stated bound: `factor * (sum over all steps, or the first alone)`."""

    factor: float = 2.0
    later: float = 1.0  # weight of the steps after the first


STATED = GreedyLossForm()


WRONG = {
    "factor 1": GreedyLossForm(factor=1.0),
    "factor 1.5": GreedyLossForm(factor=1.5),
    "factor 0.5": GreedyLossForm(factor=0.5),
    "no factor, half of the later steps": GreedyLossForm(factor=1.0, later=0.5),
    "first step alone": GreedyLossForm(later=0.0),
}


def check(key: jax.Array, samples: int = 500, form: GreedyLossForm = STATED) -> Claim:
    """The largest share of the bound that a draw loses.

    Args:
        key: random key.
        samples: random linear MDPs of every setting, each met with ten contexts.
        form: what is claimed.
    """
    shares = []
    for index, (size, context, length) in enumerate(SETTINGS):
        found = outcomes(jax.random.fold_in(key, index), size, context, length, samples)
        bound = form.factor * (found.first_error + form.later * (found.error - found.first_error))
        shares.append((found.gap / bound).ravel())
    shares = np.concatenate(shares)
    middle = float(np.median(shares))
    statement = (
        f"V* - V <= 2 sum_h E max_a |Q_hat - Q*|, in each of {shares.size} draws: share of it (median {middle:.2g})"
    )
    return at_most(statement, "ours, after Kakade, Langford 2002", float(shares.max()), 1.0, ROUNDING)


@draws.once
def outcomes(key: jax.Array, size: tuple, context: int, length: int, samples: int) -> greedy_play.GreedyOutcome:
    """Outcomes of greedy play, leading axes [samples, contexts]."""

    def measure(key: jax.Array, count: int) -> greedy_play.GreedyOutcome:
        key_worlds, key_contexts = draws.keys(key)
        worlds = linear_mdps.instances(key_worlds, size, length, count)
        chosen = greedy_play.contexts(key_contexts, worlds, (count, CONTEXTS, context))
        return greedy_play.outcomes(worlds, greedy_play.estimates(worlds, chosen))

    return draws.in_chunks(measure, key, samples, CHUNK)

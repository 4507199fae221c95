"""N2b. Gradient ascent through the learner finds the worst case of FTRL by itself.

Statement. On the ball, at the rate `R / sqrt(T)`, projected gradient ascent of `Regret - bound` reaches 0.999 of the
bound of N2 from every one of many random starts.

Assumptions. Normal losses scaled into the unit ball as starts, T = 40 rounds in the plane; this is a measurement of an
attack and no theorem. What it may reach at most is that of N2.

Why. `Regret - bound` is `-(R - eta |S_T|)^2 / (2 eta)` as long as nothing is projected (N2): zero on the sphere
`|S_T| = R / eta`, a large set, and rising towards it.

Check. The smallest ratio `Regret / bound` over all starts. Refutation. The same of descent; of the random starts
themselves; and of fewer steps. An attack that would pass with its gradient turned round could not be trusted to find a
violation of N2 if there were one.

Source. Ours.
"""

import functools
from typing import NamedTuple

import jax
import numpy as np

from jaxdm.analysis.claims import Claim
from theory import draws
from theory.no_regret.n2_ftrl_regret import CHUNK, RESTARTS, under_attack
from theory.verdicts import at_most

STATEMENT = (
    "gradient ascent through FTRL reaches the bound of N2 from each of {} random starts: what the least good leaves"
)


MISSED = 1e-3
"""Share of the bound that may be left."""


class AttackForm(NamedTuple):
    """The attack of which it is stated, and the ratio it is said to reach, less `MISSED`."""

    direction: float = 1.0
    steps: int = 150
    ratio: float = 1.0


STATED = AttackForm()


WRONG = {
    "descent for ascent": AttackForm(direction=-1.0),
    "no steps": AttackForm(steps=0),
    "two steps": AttackForm(steps=2),
    "1.01 times the bound": AttackForm(ratio=1.01),
}


def check(key: jax.Array, samples: int = 64, form: AttackForm = STATED) -> Claim:
    """What the least successful start leaves of the bound.

    Args:
        key: random key.
        samples: starts; at least 64.
        form: what is claimed.
    """
    count = max(samples, RESTARTS)
    left = form.ratio - ratios(key, count, form.direction, form.steps)
    return at_most(STATEMENT.format(count), "ours", float(np.max(left)), MISSED)


@draws.once
def ratios(key: jax.Array, samples: int, direction: float, steps: int) -> np.ndarray:
    """`Regret / bound` where the attack ends, [samples]."""

    def measure(key: jax.Array, count: int) -> jax.Array:
        return _ratios(jax.random.split(key, count), direction, steps)

    return draws.in_chunks(measure, key, samples, CHUNK)


@functools.partial(jax.jit, static_argnums=2)
@functools.partial(jax.vmap, in_axes=(0, None, None))
def _ratios(key: jax.Array, direction: jax.Array, steps: int) -> jax.Array:
    found = under_attack(key, direction, steps)
    return found.regret / (found.radius + found.losses)

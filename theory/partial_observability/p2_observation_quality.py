"""P2. Information never hurts: a POMDP's optimal value does not decrease with observation quality q.

Proof. What is seen at quality q can be made from what is seen at q' > q by adding noise, so whoever sees with q' can do
whatever one who sees with q can.

Check: optimal values at increasing q, the same random dynamics. Refutation: without the optimality, the same of the
myopic policy, which maximises the next reward only and which better observations can lead astray.

Source: classical: Blackwell, Equivalent comparisons of experiments, Annals of Mathematical Statistics 24, 1953.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxdm.analysis.claims import Claim
from jaxdm.envs import families
from jaxdm.oracles.pomdp import exact
from jaxdm.oracles.pomdp.history_tree import tree_value
from theory import draws
from theory.verdicts import exactly, largest

STATES, ACTIONS, HORIZON, QUALITIES = 3, 2, 4, 7


STATEMENT = "the value of a POMDP never decreases with observation quality"


class QualityForm(NamedTuple):
    """Of which policy it is stated, and that `V(better q) >= (1 + gain) V(q)`, or the reverse, or both."""

    myopic: bool = False
    worst: bool = False  # the policy of least value
    direction: float = 1.0  # -1 if the value is said not to increase
    equal: bool = False  # whether q is said to make no difference
    gain: float = 0.0


STATED = QualityForm()


WRONG = {
    "the myopic policy": QualityForm(myopic=True),
    "the worst policy": QualityForm(worst=True),
    "the value never increases": QualityForm(direction=-1.0),
    "quality makes no difference": QualityForm(equal=True),
    "every step of q gains 1 %": QualityForm(gain=0.01),
}


def check(key: jax.Array, samples: int = 96, form: QualityForm = STATED) -> Claim:
    """The largest loss of value from one quality to the next better one, over random dynamics.

    Args:
        key: random key.
        samples: random dynamics; the myopic policy is evaluated on the first 20 at most.
        form: what is claimed.
    """
    if form.myopic:
        value, error = _myopic_values(key, samples)
    else:
        value, error = _optimal_values(key, samples, -1.0 if form.worst else 1.0)
    loss = form.direction * ((1 + form.gain) * value[:, :-1] - value[:, 1:])
    largest = float((np.abs(loss) if form.equal else loss).max())
    return exactly(STATEMENT, "Blackwell 1953", largest, 2 * error)


@draws.once
def _optimal_values(key: jax.Array, samples: int, sign: float) -> tuple[np.ndarray, float]:
    """The largest values [samples, QUALITIES] and their error; for sign -1 the least values."""
    value, error = _values(jax.random.split(key, samples), sign)
    return sign * np.asarray(value), float(jnp.max(error))


def _myopic_values(key: jax.Array, samples: int) -> tuple[np.ndarray, float]:
    """Values of the myopic policy [min(samples, 20), QUALITIES], and their error."""
    worlds = jax.tree.map(np.asarray, _many_worlds(jax.random.split(key, min(samples, 20))))
    value, error = np.empty(worlds.discount.shape), 0.0
    for index in np.ndindex(value.shape):
        world = jax.tree.map(lambda x, index=index: x[index], worlds)
        solved = exact.plan(world, HORIZON)
        myopic = np.eye(ACTIONS)[solved.reachable.reward.argmax(axis=-1)]
        earned = exact.policy_value(world, solved, np.broadcast_to(myopic, (HORIZON, *myopic.shape)))
        value[index] = solved.reachable.root_probability @ earned[0][solved.graph.root]
        error = largest([error, solved.certificate.bound])
    return value, error


@jax.jit
def _values(keys: jax.Array, sign: jax.Array | float) -> tuple[jax.Array, jax.Array]:
    """Optimal values and their errors, two [samples, QUALITIES]; as many trees at a time as fit in a cache."""

    def solve(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        worlds = _worlds(key)
        return jax.vmap(lambda world: tree_value(world, HORIZON))(worlds._replace(reward=sign * worlds.reward))

    return jax.lax.map(solve, keys, batch_size=min(len(keys), 16))


def _worlds(key: jax.Array) -> families.pomdp.POMDP:
    """[QUALITIES] POMDPs, the same dynamics seen better and better."""

    def draw(quality: jax.Array) -> families.pomdp.POMDP:
        return families.pomdp.dirichlet(key, states=STATES, actions=ACTIONS, quality=quality, concentration=0.3)

    return jax.vmap(draw)(jnp.linspace(1 / STATES, 1, QUALITIES))


_many_worlds = jax.jit(jax.vmap(_worlds))

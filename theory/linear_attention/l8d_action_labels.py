"""L8d. Trained on optimal actions by cross-entropy instead of on Q*, the layer keeps another preconditioner.

Statement. The layer's answers to the features of a state's actions are taken as logits, and trained to name the action
that is best under Q*; contexts are as in L7, pairs with their Q*-values. What actions show of the trained A then points
nearly where that of `W L G^-1` does, and is between 4.5 and 10 times as large. This is a finding at these sizes, and no
theorem.

Assumptions. Linear MDPs as in L7, most of whose features are close to the first unit vector: there `W L G^-1` is far
enough from the identity for the direction to mean something. Features on a simplex sum to one, so that adding a row to
all rows of A adds one number to all logits: A's mean row, which no action shows, is left out.

Why, in place of a proof. Actions say what is better and not by how much: logits grow until they are as sure as a
context of N pairs lets them be. Of the layer's estimates of Q* the size is lost.

Check. Norm of what training on actions leaves, over that of the closed form, mean and interval over training seeds; the
cosine between the two must be large in every seed, and larger than that of the identity (0.95 and 0.85 or so).

Refutation. The same of layers trained on Q* themselves, whose norm is the closed form's.

Source. Ours, a finding.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from jaxdm import random
from jaxdm.analysis import statistics
from jaxdm.analysis.claims import DIFFERS, HOLDS, Claim
from jaxdm.analysis.storage import named
from jaxdm.types import Tree
from theory import draws
from theory.linear_attention import in_context_regression, linear_mdps, training
from theory.verdicts import near

LENGTH, ALIKE = 4, 0.9
"""N, and the smallest cosine that counts as nearly the same direction."""


LEAST, MOST = 4.5, 10.0
"""Between which the ratio of norms lies."""


class ActionLabelForm(NamedTuple):
    """What is stated, with its constants."""

    closed: float = 1.0  # times the closed form
    identity: bool = False  # in place of the closed form, with its norm
    actions: bool = True  # the layers of which it is said


STATED = ActionLabelForm()


WRONG = {
    "trained on Q*": ActionLabelForm(actions=False),
    "the identity's direction": ActionLabelForm(identity=True),
    "closed form x 2": ActionLabelForm(closed=2.0),
    "closed form x 0.5": ActionLabelForm(closed=0.5),
    "closed form x -1": ActionLabelForm(closed=-1.0),
}


def check(key: jax.Array, samples: int = 32, form: ActionLabelForm = STATED) -> Claim:
    """Norm of what layers trained on actions show of A, over that of the closed form; mean and interval over seeds.

    Args:
        key: random key.
        samples: prompts in a batch.
        form: what is claimed.
    """
    squares, actions, closed = layers(key, samples)
    found, size = (actions if form.actions else squares)[:, -1], np.linalg.norm(closed)
    identity = np.eye(len(closed)) - 1 / len(closed)
    identity *= size / np.linalg.norm(identity)
    closed = form.closed * (identity if form.identity else closed)
    norm = np.linalg.norm(found, axis=(1, 2))
    cosine = np.sum(found * closed, axis=(1, 2)) / norm / np.linalg.norm(closed)
    other = np.sum(found * identity, axis=(1, 2)) / norm / size
    aligned = cosine.min() > ALIKE and np.all(cosine > other)
    ratio = statistics.mean_interval(norm / np.linalg.norm(closed))
    labels = "optimal actions" if form.actions else "Q*"
    statement = (
        f"Trained on {labels} A points nearly where `W L G^-1` does (cosine {cosine.mean():.2f}), its norm times"
    )
    claim = near(statement, "ours", float(ratio.estimate), LEAST, 0.0)
    verdict = HOLDS if ratio.low > LEAST and ratio.high < MOST and aligned else DIFFERS
    target = f"in [{LEAST:g}, {MOST:g}]"
    return claim._replace(low=float(ratio.low), high=float(ratio.high), target=target, verdict=verdict)


def curves(key: jax.Array, samples: int = 32) -> dict[str, xr.DataArray]:
    """What training on Q* and on actions shows of A, at the end and by its norm on the way, and the closed form."""
    squares, actions, closed = layers(key, samples)

    def norm(found: np.ndarray) -> np.ndarray:
        return np.linalg.norm(found, axis=(2, 3)) / np.linalg.norm(closed)

    steps = np.arange(1, training.SHOWN + 1) * (training.STEPS // training.SHOWN)
    labels = ("Q*", "optimal actions")
    return {
        "norms": named(np.stack([norm(squares), norm(actions)]), label=labels, seed=None, step=steps),
        "trained": named(np.stack([squares[:, -1], actions[:, -1]]), label=labels, seed=None, row=None, column=None),
        "closed": named(closed, row=None, column=None),
    }


@draws.once
def layers(key: jax.Array, batch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What actions show of A: trained on Q* and on actions, two [SEEDS, SHOWN, d, d], and the closed form [d, d]."""
    squares = training.train(key, LENGTH, batch, linear_mdps.uneven_pool, None)
    actions = training.train(key, LENGTH, batch, linear_mdps.uneven_pool, cross_entropy)
    distribution, tasks = linear_mdps.uniform_pairs(jnp.asarray(squares.points)), jnp.asarray(squares.tasks)
    shown = np.eye(distribution.moment.shape[0]) - 1 / distribution.moment.shape[0]
    closed = shown @ np.asarray(in_context_regression.optimum(distribution, tasks, LENGTH))
    return shown @ squares.preconditioner, shown @ actions.preconditioner, closed


def cross_entropy(params: Tree, key: jax.Array, pool: linear_mdps.TrainingPool, length: int, batch: int) -> jax.Array:
    """Of the best action at a random state, with the layer's answers as logits."""
    states, actions, size, _ = linear_mdps.SIZE
    index = random.uniform(key, (batch * (length + 2),))
    tasks = pool.tasks[(index[:batch] * linear_mdps.POOL).astype(jnp.int32)]
    menu = pool.points.reshape(states, actions, size)[(index[batch : 2 * batch] * states).astype(jnp.int32)]
    x = pool.points[(index[2 * batch :] * (states * actions)).astype(jnp.int32)].reshape(batch, length, size)

    def one(x: jax.Array, task: jax.Array, menu: jax.Array) -> jax.Array:
        logits = training.answers(params, x, x @ task, menu)
        return -jax.nn.log_softmax(logits)[jnp.argmax(menu @ task)]

    return jnp.mean(jax.vmap(one)(x, tasks, menu))

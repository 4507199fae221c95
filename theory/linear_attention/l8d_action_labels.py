"""L8d. Trained on optimal actions by cross-entropy instead of on Q*, the layer keeps another preconditioner.

The layer's answers to the features of a state's actions are taken as logits, and trained to name the action that is
best under Q*; contexts are as in L7, pairs with their Q*-values. Features on a simplex sum to one, so that adding a row
to all rows of A adds one number to all logits: A's mean row, which no action shows, is left out. What remains is the
closed form's `W L G^-1` scaled up: actions say what is better and not by how much, and logits grow until they are as
sure as a context of N pairs lets them be. Of the layer's estimates of Q* the size is lost. This is a finding at these
sizes, and no theorem: that the norm is what to measure, and twice what to ask of it, was settled after a first look;
the direction says less, for at these sizes the identity shows the same one.

The refutation says the same of layers trained on Q* themselves.

Source: ours.
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
"""N, and the smallest cosine that counts as the same direction."""


class ActionLabelForm(NamedTuple):
    """What is stated, with its constants."""

    least: float = 2.0  # ratio of norms that is exceeded
    closed: float = 1.0  # times the closed form
    actions: bool = True  # the layers of which it is said


STATED = ActionLabelForm()


WRONG = {
    "trained on Q*": ActionLabelForm(actions=False),
    "closed form x 10": ActionLabelForm(closed=10.0),
    "closed form x 4": ActionLabelForm(closed=4.0),
    "closed form x -1": ActionLabelForm(closed=-1.0),
    "20 times as large": ActionLabelForm(least=20.0),
}


def check(key: jax.Array, samples: int = 32, form: ActionLabelForm = STATED) -> Claim:
    """Norm of what layers trained on actions show of A, over that of the closed form; mean and interval over seeds.

    Args:
        key: random key.
        samples: prompts in a batch.
        form: what is claimed.
    """
    squares, actions, closed = layers(key, samples)
    found, closed = (actions if form.actions else squares)[:, -1], form.closed * closed
    norm = np.linalg.norm(found, axis=(1, 2))
    cosine = np.sum(found * closed, axis=(1, 2)) / norm / np.linalg.norm(closed)
    ratio = statistics.mean_interval(norm / np.linalg.norm(closed))
    labels = "optimal actions" if form.actions else "Q*"
    statement = f"Trained on {labels} A points where W L G^-1 does (cosine {cosine.mean():.2f}), its norm times"
    claim = near(statement, "ours", float(ratio.estimate), form.least, 0.0)
    verdict = HOLDS if ratio.low > form.least and cosine.min() > ALIKE else DIFFERS
    return claim._replace(low=float(ratio.low), high=float(ratio.high), target=f"> {form.least:g}", verdict=verdict)


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
    squares = training.train(key, LENGTH, batch, linear_mdps.linear_mdp_pool, None)
    actions = training.train(key, LENGTH, batch, linear_mdps.linear_mdp_pool, cross_entropy)
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

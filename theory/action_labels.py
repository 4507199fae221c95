"""L8d. Trained on optimal actions by cross-entropy instead of on Q*, the layer keeps another preconditioner.

The layer's answers to the features of a state's actions are taken as logits, and trained to name the action that is
best under Q*; contexts are as in L7, pairs with their Q*-values. Features on a simplex sum to one, so that adding a row
to all rows of A adds one number to all logits: A's mean row, which no action shows, is left out. What remains is the
closed form's `W L G^-1` scaled up: actions say what is better and not by how much, and logits grow until they are as
sure as a context of N pairs lets them be. Of the layer's estimates of Q* the size is lost. This is a finding at these
sizes, and no theorem: that the norm is what to measure, and twice what to ask of it, was settled after a first look.

The refutation says the same of layers trained on Q* themselves.

Source: ours.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxdm import randomness, statistics
from jaxdm.types import Tree
from theory import deployment, draws, pools, regression, training
from theory.claim import DIFFERS, HOLDS, Claim, near

LENGTH, LEAST = 4, 2.0
"""N, and the smallest ratio of norms that counts as several times."""


def check(key: jax.Array, samples: int = 32) -> Claim:
    """Norm of what layers trained on actions show of A, over that of the closed form; mean and interval over seeds.

    Args:
        key: random key.
        samples: prompts in a batch.
    """
    _, actions, closed = layers(key, samples)
    cosine = np.sum(actions * closed, axis=(1, 2)) / np.linalg.norm(actions, axis=(1, 2)) / np.linalg.norm(closed)
    return _scaled(f"Trained on optimal actions A is W L G^-1 (cosine {cosine.mean():.2f}) times", actions, closed)


def refute(key: jax.Array, samples: int = 32) -> Claim:
    """The same of layers trained on Q*."""
    squares, _, closed = layers(key, samples)
    return _scaled("Trained on Q* A is W L G^-1 times", squares, closed)


def _scaled(statement: str, found: np.ndarray, closed: np.ndarray) -> Claim:
    ratio = statistics.mean_interval(np.linalg.norm(found, axis=(1, 2)) / np.linalg.norm(closed))
    claim = near("L8d", statement, "ours", float(ratio.estimate), LEAST, 0.0)
    verdict = HOLDS if ratio.low > LEAST else DIFFERS
    return claim._replace(low=float(ratio.low), high=float(ratio.high), target=f"> {LEAST:g}", verdict=verdict)


@draws.once
def layers(key: jax.Array, batch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What actions show of A: layers trained on Q* and on actions, two [SEEDS, d, d], and the closed form [d, d]."""
    squares, actions = (training.train(key, LENGTH, batch, pools.linear_mdps, loss) for loss in (None, cross_entropy))
    law, tasks = deployment.law(jnp.asarray(squares.points)), jnp.asarray(squares.tasks)
    shown = np.eye(law.moment.shape[0]) - 1 / law.moment.shape[0]
    closed = shown @ np.asarray(regression.optimum(law, tasks, LENGTH))
    return shown @ squares.preconditioner[:, -1], shown @ actions.preconditioner[:, -1], closed


def cross_entropy(params: Tree, key: jax.Array, pool: pools.Pool, length: int, batch: int) -> jax.Array:
    """Of the best action at a random state, with the layer's answers as logits."""
    states, actions, size, _ = pools.SIZE
    index = randomness.uniform(key, (batch * (length + 2),))
    tasks = pool.tasks[(index[:batch] * pools.POOL).astype(jnp.int32)]
    menu = pool.points.reshape(states, actions, size)[(index[batch : 2 * batch] * states).astype(jnp.int32)]
    x = pool.points[(index[2 * batch :] * (states * actions)).astype(jnp.int32)].reshape(batch, length, size)

    def one(x: jax.Array, task: jax.Array, menu: jax.Array) -> jax.Array:
        logits = training.answers(params, x, x @ task, menu)
        return -jax.nn.log_softmax(logits)[jnp.argmax(menu @ task)]

    return jnp.mean(jax.vmap(one)(x, tasks, menu))

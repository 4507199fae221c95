"""L7. Trained by gradient steps on sampled prompts, the layer ends at the preconditioner of the closed form.

The entries v and K of `W^PV = v e e^T`, `W^KQ = diag(K, 0)` of the library's attention layer are trained by the
library's trainer on prompts of N pairs: normal features and tasks (L3), and state-action pairs of random linear MDPs
with given features, labelled with their Q-values (L1, L4). The excess risk of the trained `A = v K^T` over the optimum
`A* = W L G^-1` is exactly `tr L (A - A*) G (A - A*)^T`; as a share of the least risk it may be no more than `LEFT`,
which is what steps of finite size on sampled prompts leave. The other entries of the two matrices stay at zero: for
tasks that are not symmetric about zero nothing says that a layer free in all its entries could not do better.

The refutation claims that the layer ends at the optimum for infinitely long contexts, `A = L^-1`.

Source: that training ends there is paper 1's for normal features, and ours for others.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from jaxdm import trainer
from jaxdm.envs import linear_mdp
from jaxdm.models import constructions
from jaxdm.types import Tree
from theory import deployment, regression
from theory.claim import Claim, at_most

SIZE, LENGTH, SEEDS = (6, 3, 3, 3), 8, 5
"""(S, A, d, H) of the MDPs; N; training seeds."""
STEPS, RATE = 4000, 0.02
LEFT = 0.02
"""Largest excess risk, as a share of the least risk."""
POOL = 512
"""Tasks that training draws from; W is their second moment."""

Form = Callable[[regression.Law, jax.Array, int], jax.Array]
"""Law, W and N to A."""
WRONG: dict[str, Form] = {
    "A = L^-1": lambda law, tasks, length: jnp.linalg.inv(law.moment),
    "N x 2": lambda law, tasks, length: regression.optimum(law, tasks, 2 * length),
    "N x 0.5": lambda law, tasks, length: regression.optimum(law, tasks, length / 2),
    "A x 2": lambda law, tasks, length: 2 * regression.optimum(law, tasks, length),
    "A x 0.5": lambda law, tasks, length: regression.optimum(law, tasks, length) / 2,
}


def check(key: jax.Array, samples: int = 64, form: Form = regression.optimum) -> Claim:
    """The largest share of the least risk by which any seed's layer is worse than, or differs from, the stated A.

    Args:
        key: random key.
        samples: prompts in a batch.
        form: what is claimed.
    """
    shares = []
    for index, (features, tasks) in enumerate(POOLS):
        key_features, key_rest = jax.random.split(jax.random.fold_in(key, index))
        law, (found, second) = features(key_features), train(key_features, key_rest, features, tasks, samples)
        moment, best = law.moment, regression.optimum(law, second, LENGTH)
        repeated = (1 - 1 / LENGTH) * moment @ second @ moment + law.fourth(second) / LENGTH
        parts = regression.split(law, best, second)
        off = found - form(law, second, LENGTH)[None]
        excess = jnp.einsum("ij,njk,kl,nil->n", moment, off, repeated, off)
        shares.append(jnp.max(excess) / (parts.estimation / LENGTH + parts.bias))
    statement = "The trained layer's excess risk over A = W L G^-1, normal and linear-MDP features (share of the risk)"
    return at_most("L7", statement, "paper 1 (normal); ours", float(jnp.max(jnp.stack(shares))), LEFT)


def refute(key: jax.Array, samples: int = 64) -> Claim:
    """The same for the inverse second moment."""
    return check(key, samples, WRONG["A = L^-1"])


def normal_law(key: jax.Array) -> regression.Law:
    """Normal features of unequal variance."""
    return regression.gaussian(jnp.diag(jnp.asarray((2.0, 1.0, 0.5))))


def normal_tasks(key: jax.Array, key_features: jax.Array) -> jax.Array:
    """Normal tasks, [POOL, d]."""
    return regression.gaussian(jnp.eye(3)).sample(key, POOL)


def mdp_features(key: jax.Array) -> jax.Array:
    """Features [S, A, d] of linear MDPs; those of one state are the unit vectors, so that L is well conditioned."""
    return _draw(key).features.at[0].set(jnp.eye(SIZE[2]))


def mdp_law(key: jax.Array) -> regression.Law:
    """Uniform over the state-action pairs."""
    return deployment.law(mdp_features(key).reshape(-1, SIZE[2]))


def mdp_tasks(key: jax.Array, key_features: jax.Array) -> jax.Array:
    """Weights of Q* of linear MDPs with these features, each at one step, [POOL, d]."""
    features = mdp_features(key_features)
    solved = jax.vmap(lambda key: deployment.solve(_draw(key)._replace(features=features))[2])
    return solved(jax.random.split(key, POOL))[jnp.arange(POOL), jnp.arange(POOL) % SIZE[3]]


def _draw(key: jax.Array) -> linear_mdp.LinearMDP:
    states, actions, dimension, horizon = SIZE
    return linear_mdp.random(key, states=states, actions=actions, dimension=dimension, horizon=horizon)


POOLS = ((normal_law, normal_tasks), (mdp_law, mdp_tasks))


@functools.partial(jax.jit, static_argnums=(2, 3, 4))
def train(
    key_features: jax.Array, key: jax.Array, features: Callable, pool: Callable, batch: int
) -> tuple[jax.Array, jax.Array]:
    """The A = v K^T of independently trained layers, [SEEDS, d, d], and the W [d, d] of their tasks."""
    key_pool, key = jax.random.split(key)
    law, tasks = features(key_features), pool(key_pool, key_features)
    size = tasks.shape[1]
    layer = constructions.linear_attention(size + 1)

    def loss(params: Tree, key: jax.Array, tasks: jax.Array) -> jax.Array:
        key_task, key_x = jax.random.split(key)
        chosen = tasks[jax.random.randint(key_task, (batch,), 0, tasks.shape[0])]
        x = law.sample(key_x, batch * (LENGTH + 1)).reshape(batch, LENGTH + 1, size)
        last = jnp.zeros((size + 1, size + 1)).at[-1, -1].set(params["v"])
        weights = constructions.attention_layer(jnp.pad(params["K"], ((0, 1), (0, 1))), last)
        tokens = jax.vmap(lambda x, w: constructions.regression_prompt(x[:-1], x[:-1] @ w, x[-1]))(x, chosen)
        answers = jax.vmap(lambda prompt: layer.apply(weights, prompt)[-1, -1])(tokens)
        return jnp.mean((answers - jnp.sum(x[:, -1] * chosen, axis=-1)) ** 2)

    schedule = optax.cosine_decay_schedule(RATE, STEPS)
    learner = trainer.make(loss, optax.adam(schedule))
    start = {"v": jnp.ones(SEEDS), "K": jnp.broadcast_to(jnp.eye(size), (SEEDS, size, size))}
    state = jax.vmap(learner.init)(jax.random.split(key, SEEDS), start)
    ended = jax.vmap(lambda state: learner.run(state, tasks, STEPS)[0].params)(state)
    return ended["v"][:, None, None] * jnp.swapaxes(ended["K"], 1, 2), tasks.T @ tasks / POOL

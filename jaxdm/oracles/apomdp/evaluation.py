"""What a given policy is worth under ambiguity: by the recursion, and model by model.

Dimensions: `M` models, `S` states, `A` actions, `O` observations, `H` steps, `N` histories of a length, `R` rows: one
for each history of up to H - 1 steps, numbered as in `jaxdm.oracles.apomdp.history_tree`.

Two verdicts, which differ as soon as the worst model is not the same everywhere:

    recursive   V(h) = sum_a pi(a|h) [ alpha min_m G_m(h,a) + (1 - alpha) max_m G_m(h,a) ]
    static      alpha min_m V_m + (1 - alpha) max_m V_m,  where V_m is the policy's value in the POMDP of model m

In the recursion the model is picked after the action is seen.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxdm.envs import apomdp as apomdps
from jaxdm.envs.apomdp import APOMDP
from jaxdm.oracles.apomdp.history_tree import MEMORY, first, grow, require_memory, tree_memory, validate_one
from jaxdm.oracles.history_backup import backup, decide, model_backup, relative_error, root, weigh
from jaxdm.oracles.mdp.bellman import certificate, require_range
from jaxdm.rollout import noise_entry, rollout
from jaxdm.types import Agent, Certificate, Transition
from jaxdm.validation import (
    check_distribution,
    check_sizes,
    float_array,
    integer,
    integer_array,
    is_concrete,
    positive_integer,
)


class Judgement(NamedTuple):
    """The exact value of a policy of histories, before the first observation."""

    recursive: jax.Array  # []
    static: jax.Array  # []
    models: jax.Array  # [M] its value in each model
    certificate: Certificate


class Estimate(NamedTuple):
    """The value of an agent in each model, from episodes; `static` inherits the errors of the models it weighs."""

    static: jax.Array  # []
    models: jax.Array  # [M]
    standard_error: jax.Array  # [M]


def evaluate(apomdp: APOMDP, probabilities: jax.Array, horizon: int, memory: float = MEMORY) -> Judgement:
    """Both verdicts on a policy of H steps, by enumeration of all histories.

    Args:
        apomdp: the world; no batch axis.
        probabilities: [R, A] of the actions, as `agent_probabilities` gives, or `jax.nn.one_hot` of a plan's policy.
        horizon: H >= 1, static.
        memory: bytes that the tree may take.

    Returns:
        Judgement; the bound covers every number in it.

    Raises:
        ValueError: a bad APOMDP, probabilities of another shape or that do not sum to one, or a tree that needs more
            than `memory`.
    """
    validate_one(apomdp)
    horizon = positive_integer("horizon", horizon)
    require_range(apomdp.reward, horizon)
    actions, observations = apomdp.observation.shape[1], apomdp.observation.shape[-1]
    require_memory(tree_memory(apomdp, observations, horizon), memory, "shorten the horizon, or simulate")
    sizes = [observations * (actions * observations) ** t for t in range(horizon)]
    probabilities = float_array("probabilities", probabilities, "R A", R=sum(sizes), A=actions)
    if is_concrete(probabilities):
        check_distribution("probabilities", probabilities)
    belief, mass = first(apomdp)
    layers, end = grow(apomdp, belief, horizon), sum(sizes)
    # One recursion weighs the models at every history, the other leaves each its own values; each with its errors.
    ahead, model_ahead = jnp.zeros((2, 0), apomdp.reward.dtype), jnp.zeros((2, len(belief), 0), apomdp.reward.dtype)
    for t in reversed(range(horizon)):
        here, choice = layers[t], probabilities[end - sizes[t] : end].astype(apomdp.reward.dtype)
        end -= sizes[t]
        kappa = relative_error(apomdp, t)
        step = decide(here, ahead[0], ahead[1], apomdp.discount, apomdp.attitude, kappa)
        ahead = _mean(choice, step.q, step.error, kappa)
        values, errors = model_backup(here, model_ahead[0], model_ahead[1], apomdp.discount, kappa)
        model_ahead = _mean(choice[None], values, errors, kappa)
    kappa = relative_error(apomdp, 0)
    recursive, error = root(mass, ahead[0], ahead[1], apomdp.attitude, kappa)
    models = backup(0, mass, model_ahead[0], 1)
    model_error = backup(0, mass, kappa * jnp.abs(model_ahead[0]) + (1 + kappa) * model_ahead[1], 1)
    bound = jnp.maximum(error, (1 + kappa) * jnp.max(model_error + kappa * jnp.abs(models)))
    return Judgement(
        recursive=recursive,
        static=static_value(apomdp, models),
        models=models,
        certificate=certificate(jnp.zeros_like(bound), bound, horizon),
    )


def _mean(choice: jax.Array, q: jax.Array, error: jax.Array, kappa: float) -> tuple[jax.Array, jax.Array]:
    """`sum_a pi(a) q(a)` and its error; what has no chance does not count, though it be worth -inf."""
    taken = jnp.where(choice > 0, q, 0)
    unsure = (1 + kappa) * error + 2 * choice.shape[-1] * kappa * jnp.where(jnp.isfinite(taken), jnp.abs(taken), 0)
    value = jnp.sum(choice * taken, axis=-1)
    return value, jnp.where(value == -jnp.inf, 0, jnp.sum(choice * unsure, axis=-1))


def static_value(apomdp: APOMDP, models: jax.Array) -> jax.Array:
    """`alpha min_m V_m + (1 - alpha) max_m V_m` of per-model values [M]."""
    return weigh(models, jnp.ones_like(models, bool), apomdp.attitude)


def agent_probabilities(
    key: jax.Array, agent: Agent, params: Any, *, horizon: int, actions: int, observations: int
) -> jax.Array:
    """What an agent does after every history, with its randomness fixed by `key`.

    A history is made of actions and observations. The agent is shown reward zero: one that learns from rewards has
    no such policy, and is judged by `simulate`.

    Args:
        key: random key; of no effect for a deterministic agent.
        agent: any Agent.
        params: its parameters.
        horizon: H >= 1, static.
        actions: A.
        observations: O.

    Returns:
        [R, A] probabilities, each 0 or 1; all 0 where the agent has no action, -1.

    Raises:
        ValueError: horizon, actions or observations < 1, or an action outside 0..A-1 (where it is concrete).
    """
    check_sizes(horizon=horizon, actions=actions, observations=observations)
    key_init, key_noise = jax.random.split(key)
    player = noise_entry(agent.act, agent.predrawn)
    noise = player.draw(key_noise, horizon)
    start = agent.init(key_init, params)
    memory = jax.tree.map(lambda x: jnp.broadcast_to(x, (observations, *jnp.shape(x))), start)
    seen, found = jnp.arange(observations, dtype=jnp.int32), []
    action, following = (x.ravel() for x in jnp.indices((actions, observations), dtype=jnp.int32))
    false, zero = jnp.bool_(False), jnp.zeros(())

    def branch(memory: Any, seen: jax.Array) -> Any:
        def observe(action: jax.Array, following: jax.Array) -> Any:
            transition = Transition(
                observation=seen,
                action=action,
                reward=zero,
                next_observation=following,
                terminated=false,
                truncated=false,
            )
            return agent.observe(memory, transition, params)

        return jax.vmap(observe)(action, following)

    for t in range(horizon):
        here = jax.tree.map(lambda x, t=t: x[t], noise)
        chosen, memory = jax.vmap(player.apply, in_axes=(None, 0, 0, None))(here, memory, seen, params)
        found.append(jax.nn.one_hot(integer_array("agent", chosen, "N", -1, actions - 1), actions))
        if t < horizon - 1:
            memory = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), jax.vmap(branch)(memory, seen))
            seen = jnp.tile(following, seen.shape[0])
    return jnp.concatenate(found)


def simulate(key: jax.Array, apomdp: APOMDP, agent: Agent, params: Any, *, horizon: int, episodes: int) -> Estimate:
    """The discounted return of an agent in each model, over episodes whose random numbers the models share.

    Args:
        key: random key.
        apomdp: the world; no batch axis. Its `nature` plays no part: every model has its turn.
        agent: any Agent.
        params: its parameters.
        horizon: H >= 1, static.
        episodes: number of episodes in each model, at least 2; static.

    Returns:
        Estimate.

    Raises:
        ValueError: horizon < 1, fewer than 2 episodes, or a bad APOMDP.
    """
    episodes = integer("episodes", episodes, 2)
    horizon = positive_integer("horizon", horizon)
    validate_one(apomdp)
    world, models = apomdps.env(horizon), apomdp.nature.shape[0]
    weight = apomdp.discount ** jnp.arange(horizon)

    def episode(key: jax.Array, nature: jax.Array) -> jax.Array:
        return jnp.sum(weight * rollout(key, world, apomdp._replace(nature=nature), agent, params, horizon).reward)

    keys, natures = jax.random.split(key, episodes), jnp.eye(models, dtype=apomdp.nature.dtype)
    returns = jax.vmap(lambda nature: jax.vmap(lambda key: episode(key, nature))(keys))(natures)
    means = jnp.mean(returns, axis=-1)
    error = jnp.std(returns, axis=-1, ddof=1) / jnp.sqrt(jnp.asarray(episodes, returns.dtype))
    return Estimate(static=static_value(apomdp, means), models=means, standard_error=error)

"""Evaluation in the regret-minimisation study: all methods meet the same instances with the same randomness.

Dimensions: `W` methods, `Q` distributions of instances, `N` seeds, `R` runs, `T` rounds, `K` arms.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.rmft.classical import EPSILONS, Candidates
from experiments.streams import Use, stream
from jaxdm import random
from jaxdm.numerics import batched_map
from jaxdm.rmft.games import Game, Rollout
from jaxdm.types import Agent, Network, Tree

BATCH_SIZE = 32
"""Runs played at once on a CPU."""


GREEDY = 1e4
"""Factor of a network's outputs that makes its draws its likeliest arms."""


BEST = "best classical"
"""For each distribution the tuned player of least regret in the tuning episodes."""


Measures = dict[str, Any]
"""Name to numbers: of one run, or its mean over runs, [W, Q, N, ...]."""


PIECES = 4
"""Evaluation episodes are played in so many pieces, each as many as the episodes that tune: one program for both."""


class Worlds(NamedTuple):
    """The keys of evaluation episodes: of those in which methods are compared, and of those that tune baselines."""

    evaluation: jax.Array  # [N, R]
    tuning: jax.Array  # [N, R / PIECES]


def worlds(seed: int, seeds: int, runs: int) -> Worlds:
    """The keys of R episodes for each of N seeds, R the largest multiple of `PIECES` that is no more than `runs`."""
    piece = max(1, runs // PIECES)
    return Worlds(
        evaluation=jax.random.split(stream(seed, Use.RMFT_EVALUATION), (seeds, piece * PIECES)),
        tuning=jax.random.split(stream(seed, Use.RMFT_TUNING), (seeds, piece)),
    )


def regret_alone(played: Rollout) -> Measures:
    """What is measured where decisions are points."""
    return {"regret": played.cumulative_regret}


def explored(played: Rollout) -> Measures:
    """What is measured of a bandit player in one run; `jaxdm.analysis.exploration` says the same of stored actions.

    - `regret` [T]
    - `optimal_play` [T], whether the best arm is played
    - `suffix_failure` [T], whether it is in no round from this one on
    - `min_fraction` [T], K times the share of the arm that was played least, of those available
    - `greedy_fraction` [], the share of rounds 2..T that played an arm of largest mean reward so far
    """
    length = played.label.shape[0]
    optimal = jnp.sum(played.label * played.best, axis=-1) > 0.5
    ever = jnp.cumsum(optimal[::-1])[::-1] > 0
    plays = jnp.cumsum(played.label, axis=0)
    least = jnp.min(jnp.where(played.available, plays, jnp.inf), axis=-1)
    arms = jnp.sum(played.available, axis=-1)
    return {
        "regret": played.cumulative_regret,
        "optimal_play": optimal.astype(float),
        "suffix_failure": (~ever).astype(float),
        "min_fraction": arms * least / jnp.arange(1, length + 1),
        "greedy_fraction": greedy_fraction(played),
    }


def greedy_fraction(played: Rollout) -> jax.Array:
    """GreedyFrac of one run, from the arms and rewards in its tokens; ties are greedy, untried arms are not, []."""
    arms = played.label.shape[-1]
    chosen, signed = (jnp.cumsum(played.tokens[1:, i * arms : (i + 1) * arms], axis=0) for i in (1, 2))
    mean = jnp.where(chosen > 0, signed / jnp.where(chosen > 0, chosen, 1), -jnp.inf)
    best = jnp.max(mean, axis=-1, keepdims=True)
    near = mean >= best - 1e-5  # sums of rewards that should tie differ by rounding
    return jnp.mean(jnp.sum(near * played.label[1:], axis=-1))


def evaluator(
    game: Game,
    agent: Agent,
    agent_params: Callable[[Tree, Tree], Tree],
    distributions: int = 1,
    measure: Callable[[Rollout], Measures] = regret_alone,
) -> Callable[[jax.Array, Tree], Measures]:
    """`(keys [N, R], settings) -> means over runs`: one agent with W settings, leading axes [W, N]; compiled once.

    Args:
        game: whose `instance(key, q)` draws from distribution q.
        agent: who plays.
        agent_params: `(settings, instance) -> params` of the agent.
        distributions: Q.
        measure: what is measured of one run.
    """
    of_seed = mean_over_runs(game, agent, agent_params, measure)

    def of_distribution(index: jax.Array, keys: jax.Array, settings: Tree) -> Measures:
        return jax.lax.map(lambda inputs: of_seed(index, *inputs), (keys, settings))

    def of_method(keys: jax.Array, settings: Tree) -> Measures:
        return jax.lax.map(lambda index: of_distribution(index, keys, settings), jnp.arange(distributions))

    compiled = jax.jit(lambda keys, settings: jax.lax.map(lambda one: of_method(keys, one), settings))
    return lambda keys, settings: jax.tree.map(np.asarray, compiled(keys, settings))


def mean_over_runs(
    game: Game, agent: Agent, agent_params: Callable[[Tree, Tree], Tree], measure: Callable[[Rollout], Measures]
) -> Callable[[jax.Array, jax.Array, Tree], Measures]:
    """`(distribution [], keys [R], settings) -> means over runs` of one agent; arguments as of `evaluator`."""

    def run(key: jax.Array, index: jax.Array, settings: Tree) -> Measures:
        key_instance, key_play = random.split(key)
        instance = game.instance(key_instance, index)
        return measure(game.play(key_play, instance, agent, agent_params(settings, instance)))

    def of_seed(index: jax.Array, keys: jax.Array, settings: Tree) -> Measures:
        runs = batched_map(lambda key: run(key, index, settings), keys, BATCH_SIZE)
        return jax.tree.map(lambda values: jnp.mean(values, axis=0), runs)

    return of_seed


def evaluate_networks(
    where: Worlds,
    game: Game,
    network: Network,
    weights: Mapping[str, Tree],
    distributions: int = 1,
    measure: Callable[[Rollout], Measures] = regret_alone,
    greedy: Sequence[str] = (),
) -> Measures:
    """Networks of one shape, without exploration noise, in the order given; weights have a leading axis [N].

    Those named in `greedy` follow once more, playing their likeliest arms.
    """
    named = {**weights, **{f"{name}, greedy": weights[name] for name in greedy}}
    seeds = where.evaluation.shape[0]
    scale = jnp.repeat(jnp.asarray([1.0] * len(weights) + [GREEDY] * len(greedy))[:, None], seeds, axis=1)

    def scaled(settings: tuple[Tree, jax.Array], cache: Tree, token: jax.Array) -> tuple:
        output, cache = network.step(settings[0], cache, token)
        return settings[1] * output, cache

    def prefill(settings: tuple[Tree, jax.Array], *rest: Any) -> tuple:
        return network.prefill(settings[0], *rest)

    def agent_params(settings: tuple[Tree, jax.Array], instance: Tree) -> Tree:
        return game.deploy(settings if greedy else settings[0], jnp.zeros(()), instance)

    shown = network._replace(step=scaled, prefill=prefill) if greedy else network
    evaluate = evaluator(game, game.player(shown), agent_params, distributions, measure)
    return evaluate(where.evaluation, (stacked(named), scale))


def evaluate_learner(
    where: Worlds,
    game: Game,
    agent: Agent,
    candidates: Sequence[Any],
    distributions: int = 1,
    agent_params: Callable[[Tree, Tree], Tree] = lambda candidate, instance: candidate,
    fixed: Sequence[Any] = (),
    measure: Callable[[Rollout], Measures] = regret_alone,
) -> tuple[Measures, np.ndarray]:
    """A classical learner, tuned for each distribution: the candidate of least regret in the tuning episodes.

    Args:
        where: keys of episodes.
        game: whose `instance(key, q)` draws from distribution q.
        agent: the learner.
        candidates: its params that are chosen from.
        distributions: Q.
        agent_params: `(candidate, instance) -> params`.
        fixed: params that are evaluated beside, and not chosen from.
        measure: what is measured of one run.

    Returns:
        Measures with W = 1 + len(fixed), and the chosen candidate's regret in the tuning episodes, [Q].
    """
    evaluate = evaluator(game, agent, agent_params, distributions, measure)
    seeds = where.evaluation.shape[0]
    final = np.concatenate([evaluate(where.tuning, spread([one], seeds))["regret"][..., -1] for one in candidates])
    final = final.mean(axis=-1)
    best = final.argmin(axis=0)
    pieces = np.split(np.arange(where.evaluation.shape[1]), PIECES)

    def shown(one: Any) -> Measures:
        parts = [evaluate(where.evaluation[:, piece], spread([one], seeds)) for piece in pieces]
        return jax.tree.map(lambda *values: np.mean(values, axis=0, dtype=values[0].dtype), *parts)

    played = {int(index): shown(candidates[index]) for index in np.unique(best)}
    chosen = jax.tree.map(np.zeros_like, next(iter(played.values())))
    for name, value in chosen.items():
        for q, index in enumerate(best):
            value[:, q] = played[int(index)][name][:, q]
    return join([chosen, *map(shown, fixed)]), final.min(axis=0)


class Classical(NamedTuple):
    """What classical players did, leading axes [W, Q, N]."""

    measures: Measures
    names: tuple[str, ...]  # [W], the best of all last
    epsilon_greedy: Measures  # W = every constant rate in `classical.EPSILONS`
    tuned_over: dict[str, int]  # how many params each was tuned over


def evaluate_classical(
    where: Worlds,
    game: Game,
    players: Mapping[str, Candidates],
    distributions: int,
    measure: Callable[[Rollout], Measures] = explored,
) -> Classical:
    """All players, each tuned for every distribution, and the best of them."""
    found, tuning, curve = [], [], {}
    for name, (agent, params) in players.items():
        fixed = params[: len(EPSILONS)] if name == "epsilon-greedy" else ()
        measures, regret = evaluate_learner(where, game, agent, params, distributions, fixed=fixed, measure=measure)
        found.append({key: value[:1] for key, value in measures.items()})
        if fixed:
            curve = {key: value[1:] for key, value in measures.items()}
        tuning.append(regret)
    best = np.argmin(tuning, axis=0)
    together = join(found)
    chosen = {key: value[best, np.arange(distributions)][None] for key, value in together.items()}
    return Classical(
        measures=join([together, chosen]),
        names=(*players, BEST),
        epsilon_greedy=curve,
        tuned_over={name: len(params) for name, (_, params) in players.items()},
    )


def spread(params: Sequence[Any], seeds: int) -> Tree:
    """Params of W settings as one tree, leading axes [W, N]."""

    def each(*leaves: Any) -> jax.Array:
        return jnp.broadcast_to(jnp.stack([jnp.asarray(x) for x in leaves])[:, None], (len(params), seeds))

    return jax.tree.map(each, *params)


def join(parts: Sequence[Measures]) -> Measures:
    """Methods of several calls, one after the other."""
    return jax.tree.map(lambda *values: np.concatenate(values), *parts)


def stacked(weights: Mapping[str, Tree]) -> Tree:
    """Weights of networks of one shape, leading axis [W] in the order given."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *weights.values())

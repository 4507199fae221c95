"""Exact planning in a POMDP, on the graph of its reachable beliefs.

Dimensions: `S` states, `A` actions, `O` observations, `H` steps, `N` beliefs, `n_t` of them within t steps.

The recursion and its errors are those of `jaxdm.oracles.history_backup`, with one model. Taking a belief for another at
L1 distance d, as merging does, changes a value of h steps by at most `d w_h`, with `w_h = |r| + gamma rho w_{h-1}`. For
an endless horizon errors are those of `jaxdm.oracles.pomdp.belief`, entry by entry: `e(n,a) = kappa M(n,a) +
gamma sum_o Pr(o|n,a) (e + d w)(n a o)`, where `M` is the expected sum of the moduli of rewards that follow.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxdm.envs.pomdp import POMDP, validate
from jaxdm.oracles import history_backup
from jaxdm.oracles.graph_policy import HistoryGraph
from jaxdm.oracles.history_backup import backup
from jaxdm.oracles.mdp.bellman import certificate, greedy, loss_of, require_range, value_error
from jaxdm.oracles.pomdp.belief import relative_error
from jaxdm.oracles.pomdp.belief_graph import MEMORY, RESOLUTION, ReachableBeliefs, reachable
from jaxdm.types import Certificate
from jaxdm.validation import check_distribution, check_shape, float_array, positive_integer, record
from jaxdm.validation import tolerance as checked_tolerance

LARGEST = float(np.finfo(np.float64).max) * 2.0**-60
"""Changes of values beyond this are divergence: the next ones might not be numbers."""


SHARPENED = 2
"""Backups by which the error that holds everywhere becomes one of each entry, in endless plans."""

Steps = tuple[np.ndarray, ...]
"""One array for each step t, of the `n_t` beliefs that can be held then: what comes later has no room before."""


class BeliefPlan(NamedTuple):
    """What is optimal at every step and reachable belief, in numpy arrays (float64 values).

    `policy` is the lowest action equal to the best up to rounding; `ties` are all that cannot be told from the best. An
    endless plan has a single step, which goes on. Errors are those of the beliefs of the graph. Where histories were
    merged whose beliefs differ by more than rounding (`reachable.distance > 0`), `history_error` says by how much more
    a history's values may differ from those of its node.
    """

    root_value: np.ndarray  # [] expected over the first observation
    q: Steps  # H of [n_t, A], -inf where the action is not available
    value: Steps  # H of [n_t]
    policy: np.ndarray  # [H, N] int32; zero at beliefs that cannot be held yet
    ties: Steps  # H of [n_t, A] bool
    error: Steps  # H of [n_t, A], certified error of each entry of `q`
    value_error: Steps  # H of [n_t]; the certificate's bound is the largest, with the root's
    reachable: ReachableBeliefs
    certificate: Certificate

    @property
    def graph(self) -> HistoryGraph:
        """What `jaxdm.oracles.graph_policy` walks on."""
        return self.reachable.graph


def plan(pomdp: POMDP, horizon: int, memory: float = MEMORY, resolution: float = RESOLUTION) -> BeliefPlan:
    """Optimal values: `Q_t(b,a) = b . r_a + gamma sum_o Pr(o|b,a) V_{t+1}(b_ao)`, `V_t = max_a Q_t`, `V_H = 0`.

    Args:
        pomdp: the world.
        horizon: H >= 1.
        memory: bytes that the belief graph, and then the tables of all steps, may take.
        resolution: see `jaxdm.oracles.pomdp.belief_graph.reachable`.

    Returns:
        BeliefPlan of H steps; the bound covers every belief.

    Raises:
        ValueError: horizon < 1, a bad POMDP, rewards whose sum would overflow, a belief at which no action is
            available, or more than `memory`.

    Reference: Smallwood, Sondik, Operations Research 21, 1973.
    """
    horizon = positive_integer("horizon", horizon)
    record("pomdp", pomdp, POMDP)  # the rest is checked where the graph is made
    require_range(pomdp.reward, horizon)
    beliefs = reachable(pomdp, horizon - 1, memory, resolution)
    _require_tables(beliefs, horizon, memory)
    discount, factor, apart = float(pomdp.discount), _factor(pomdp), _apart(pomdp, beliefs, horizon)
    children = beliefs.graph.child

    def step(t: int, n: int, both: np.ndarray) -> np.ndarray:
        """Values and errors [n, A, 2] at step t, from those of the step after it, [n', 2]."""
        here = np.stack([beliefs.reward[:n], kappa[t] * beliefs.size[:n] + factor * apart[t]], axis=-1)
        if not len(both):
            return here
        both[:, 1] = kappa[t] * np.abs(both[:, 0]) + (1 + kappa[t]) * both[:, 1]
        return backup(here, beliefs.probability[:n, ..., None], both[children[:n]], discount, axis=2)

    kappa = [
        history_backup.relative_error(pomdp, t, np.float64) + float(np.expm1(2 * (t + 1) * beliefs.relative))
        for t in range(horizon)
    ]
    q, error, both, every = [], [], np.empty((0, 2)), bool(beliefs.available.all())
    for t, n in reversed(list(enumerate(_sizes(beliefs, horizon)))):
        entries = step(t, n, both)
        if not every:
            entries = np.where(beliefs.available[:n, :, None], entries, (-np.inf, 0))
        q.append(entries[..., 0])
        error.append(entries[..., 1])
        both = np.empty((n, 2))
        both[:, 0] = q[-1].max(axis=-1)
        best = both[:, :1] if every else np.where(both[:, :1] > -np.inf, both[:, :1], 0)
        both[:, 1] = np.maximum((error[-1] - (best - q[-1])).max(axis=-1), 0)  # `value_error`, in a third of the time
    rounding = [
        k * (beliefs.size[: len(x)] + np.abs(np.where(beliefs.available[: len(x)], x, 0) - beliefs.reward[: len(x)]))
        for k, x in zip(kappa, reversed(q), strict=True)
    ]
    return _belief_plan(q[::-1], error[::-1], rounding, beliefs, kappa[0], horizon)


def plan_endless(
    pomdp: POMDP,
    tolerance: float = 1e-9,
    memory: float = MEMORY,
    resolution: float = RESOLUTION,
    max_iterations: int = 100_000,
) -> BeliefPlan:
    """Discounted optimal values of a POMDP with finitely many reachable beliefs, by value iteration on them.

    Args:
        pomdp: discount < 1.
        tolerance: wanted bound on the value of any belief; where float64 cannot give it, the certificate says so.
        memory: bytes that the belief graph may take.
        resolution: see `jaxdm.oracles.pomdp.belief_graph.reachable`.
        max_iterations: backups after which to give up; the certificate says how far it got.

    Returns:
        BeliefPlan of one step, which goes on. The bound is infinite where rows above one undo the discount.

    Raises:
        ValueError: discount 1, tolerance <= 0, max_iterations < 1, a bad POMDP, rewards whose sum would overflow, a
            belief at which no action is available, or a graph that does not close within `memory`.
    """
    tolerance = float(checked_tolerance("tolerance", tolerance))
    max_iterations = positive_integer("max_iterations", max_iterations)
    beliefs = reachable(pomdp, None, memory, resolution)
    discount, factor = float(pomdp.discount), _factor(pomdp)
    if not discount < 1:
        raise ValueError(f"discount: {discount}; expected a number below 1 for an endless horizon")
    require_range(pomdp.reward, 1 / (1 - discount))
    kappa = relative_error(pomdp, np.float64) + 2 * beliefs.relative
    horizon = 1 / (1 - factor) if factor < 1 else np.inf
    # Stops at the rounding of the iteration, in float64; that of the stored parameters is in the bound alone.
    work = kappa - 4 * float(np.finfo(pomdp.reward.dtype).eps)
    reward = np.where(beliefs.available, beliefs.reward, -np.inf)
    pull = discount * min(float(beliefs.probability.sum(axis=-1).min()), 1.0)
    value, iterations = reward.max(axis=-1), 0
    start = np.abs(value).max()
    while True:
        q = backup(reward, beliefs.probability, value[beliefs.graph.child], discount)
        change = q.max(axis=-1) - value
        residual, iterations = np.abs(change).max(), iterations + 1
        floor = work * max(np.abs(value).max(), start)
        if residual <= max(tolerance / (2 * horizon), floor) or iterations == max_iterations:
            break
        # Rows above one may undo the discount, and values then grow without end; the bound is infinite.
        if not residual <= LARGEST:
            break
        value = value + change + pull / (1 - pull) * (change.max() + change.min()) / 2
    error = _endless_errors(pomdp, beliefs, q, np.abs(change), kappa)
    rounding = work * (beliefs.size + np.abs(np.where(beliefs.available, q, 0) - beliefs.reward)) + 2 * floor
    rounding = np.minimum(rounding, error)
    return _belief_plan([q], [error], [rounding], beliefs, kappa, iterations, residual)


def _endless_errors(
    pomdp: POMDP, beliefs: ReachableBeliefs, q: np.ndarray, change: np.ndarray, kappa: float
) -> np.ndarray:
    """The error of each entry of a backup q [N, A] of a vector that it changed by `change` [N].

    First one bound for all entries, `(change + kappa M + gamma rho d w) / (1 - gamma rho)`, over those that can be
    best, which may be fewer than before; then backups of the errors and of M.
    """
    discount, factor = float(pomdp.discount), _factor(pomdp)
    if not (factor < 1 and np.isfinite(q).any(axis=-1).all()):
        return np.where(beliefs.available, np.inf, 0)
    horizon = 1 / (1 - factor)
    apart = factor * beliefs.distance * _largest(pomdp) * horizon
    loss, ties = loss_of(q), beliefs.available
    moduli = error = np.inf
    for _ in range(1 + SHARPENED):
        moduli = beliefs.size[ties].max() * horizon
        error = (change.max() + kappa * moduli + apart) * horizon
        ties = beliefs.available & (loss <= 2 * error)
    after = beliefs.probability[..., None]
    ahead = np.stack([np.full(len(q), moduli), np.full(len(q), error)], axis=-1)  # M and e of the vector backed up
    entries = ahead
    for _ in range(SHARPENED):
        here = np.stack([beliefs.size, np.full_like(q, apart)], axis=-1)
        entries = backup(here, after, ahead[beliefs.graph.child], discount, axis=2)
        entries[..., 1] += kappa * entries[..., 0]
        ties = beliefs.available & (loss <= entries[..., 1] + (loss + entries[..., 1]).min(axis=-1, keepdims=True))
        best = np.max(np.where(ties[..., None], entries, 0), axis=1)
        best[:, 1] += change
        ahead = np.minimum(ahead, best)
    return np.where(beliefs.available, entries[..., 1], 0)


def policy_value(pomdp: POMDP, solved: BeliefPlan, probabilities: np.ndarray) -> Steps:
    """The exact value of any policy of a finite plan's beliefs, e.g. the uniform one: same recursion, no maximum.

    Args:
        pomdp: the world of the plan.
        solved: from `plan`.
        probabilities: [H, N, A] of the actions.

    Returns:
        H arrays [n_t] of values; what the policy is worth in all is `root_probability @ value[0][graph.root]`. One
        that takes an action that is not available is worth -inf.

    Raises:
        ValueError: a bad POMDP, what is no plan, or probabilities of another shape or that are none where a belief can
            be held.
    """
    validate(pomdp)
    record("solved", solved, BeliefPlan)
    beliefs, horizon = solved.reachable, len(solved.q)
    check_shape("probabilities", probabilities, "H N A", H=horizon, N=len(beliefs.reward), A=beliefs.reward.shape[1])
    probabilities = np.asarray(float_array("probabilities", probabilities))
    for t, n in enumerate(_sizes(beliefs, horizon)):
        check_distribution("probabilities", probabilities[t, :n])
    ahead, found = np.empty(0), []
    for t, n in reversed(list(enumerate(_sizes(beliefs, horizon)))):
        q = beliefs.reward[:n]
        if len(ahead):
            after = ahead[beliefs.graph.child[:n]]
            # What is impossible does not count, though it be worth -inf.
            chance = beliefs.probability[:n]
            q = backup(q, chance, np.where(chance > 0, after, 0), float(pomdp.discount))
        choice = probabilities[t, :n]
        taken = np.where(choice > 0, np.where(beliefs.available[:n], q, -np.inf), 0)
        ahead = (choice * taken).sum(axis=-1)
        found.append(ahead)
    return tuple(found[::-1])


def history_error(pomdp: POMDP, solved: BeliefPlan) -> Steps:
    """How far values of a finite plan's nodes may be from those of the histories that lead there, beyond their errors.

    Merging moves a belief by `d` at most, and an observation of probability p makes a distance D before it one of
    `2 D max_s Pr(o|s,a) / p` after it: `D(n a o) = max(2 D(n) max_s Pr(o|s,a) / Pr(o|n,a)) + d`, over all that lead to
    a node. A value of h steps differs by at most `D w_h` between beliefs at that distance. What the agent that follows
    the plan is worth is known to twice the bound of `root_value` all the same: where only rare observations make the
    distance large, it is rarely met.

    Args:
        pomdp: the world of the plan.
        solved: from `plan`.

    Returns:
        H arrays [n_t]; zero where merging moved beliefs by rounding alone.

    Raises:
        ValueError: a bad POMDP, or what is no plan.
    """
    validate(pomdp)
    record("solved", solved, BeliefPlan)
    beliefs, horizon = solved.reachable, len(solved.q)
    sizes, size = _sizes(beliefs, horizon), _sums(pomdp, horizon)
    transition, observation = (np.asarray(x, np.float64) for x in (pomdp.transition, pomdp.observation))
    widest = np.einsum("sat,ato->sao", transition, observation).max(axis=0)  # [A, O]
    drift, found = np.full(sizes[0], beliefs.distance), []
    for t, n in enumerate(sizes):
        found.append(np.minimum(drift, 2) * size[horizon - t])
        if t == horizon - 1 or not beliefs.distance:
            continue
        chance, ahead = beliefs.probability[:n], np.zeros(sizes[t + 1])
        grown = 2.02 * drift[:, None, None] * widest / np.where(chance > 0, chance, np.inf) + beliefs.distance
        np.maximum.at(ahead, beliefs.graph.child[:n], np.where(chance > 0, grown, 0))
        drift = ahead
    if not beliefs.distance:
        found = [np.zeros(n) for n in sizes]
    return tuple(found)


def _sizes(beliefs: ReachableBeliefs, horizon: int) -> list[int]:
    """`n_t` for each step."""
    return [int(beliefs.within[min(t, len(beliefs.within) - 1)]) for t in range(horizon)]


def _largest(pomdp: POMDP) -> float:
    """The largest modulus of a reward, where the action is available."""
    reward = np.asarray(pomdp.reward, np.float64)
    return float(np.abs(reward[reward > -np.inf]).max())


def _factor(pomdp: POMDP) -> float:
    """`gamma rho`, with rho the largest row sum of P Z, at least one."""
    moved, seen = (np.asarray(x, np.float64).sum(axis=-1).max() for x in (pomdp.transition, pomdp.observation))
    return float(pomdp.discount) * max(float(moved * seen), 1.0)


def _sums(pomdp: POMDP, horizon: int) -> list[float]:
    """`w_h` for h = 0, 1, ..., H."""
    found, reward, factor = [0.0], _largest(pomdp), _factor(pomdp)
    for _ in range(horizon):
        found.append(reward + factor * found[-1])
    return found


def _apart(pomdp: POMDP, beliefs: ReachableBeliefs, horizon: int) -> list[float]:
    """`d w_{H-t-1}`: what merging the beliefs that follow step t does to their values."""
    return [beliefs.distance * size for size in _sums(pomdp, horizon)[horizon - 1 :: -1]]


def _require_tables(beliefs: ReachableBeliefs, horizon: int, memory: float) -> None:
    """Refuse tables of values, errors, ties and policies that would not fit."""
    count, actions = beliefs.reward.shape
    grown = _sizes(beliefs, min(horizon, len(beliefs.within)))
    held = sum(grown) + (horizon - len(grown)) * grown[-1]
    needed = held * (41 * actions + 16) + 4 * horizon * count
    if needed > memory:
        raise ValueError(
            f"memory: the tables of {horizon} steps and {count} beliefs need {needed / 2**20:.4g} MiB; expected at "
            f"most {memory / 2**20:.4g} MiB (shorten the horizon, raise the limit, or use point_based)"
        )


def _belief_plan(
    q: list[np.ndarray],
    error: list[np.ndarray],
    rounding: list[np.ndarray],
    beliefs: ReachableBeliefs,
    kappa: float,
    iterations: int,
    residual: float = 0.0,
) -> BeliefPlan:
    """The plan of the values, certified errors and rounding of each step, [n_t, A] each."""
    cuts = np.cumsum([len(each) for each in q])[:-1]
    every, errors = np.concatenate(q), np.concatenate(error)
    # All steps at once: on a small graph a call of numpy costs more than its work.
    chosen, ties = greedy(every, np.minimum(np.concatenate(rounding), errors), errors)
    value, behind = every.max(axis=-1), value_error(every, errors)
    policy = np.zeros((len(q), len(beliefs.reward)), np.int32)
    for row, actions in zip(policy, np.split(chosen, cuts), strict=True):
        row[: len(actions)] = actions
    seen = beliefs.root_probability > 0
    at, chance = beliefs.graph.root[seen], beliefs.root_probability[seen]
    root_error = chance @ (kappa * np.abs(value[at]) + (1 + kappa) * behind[at])
    with np.errstate(over="ignore"):  # what float32 cannot hold is infinite in it
        guarantee = certificate(jnp.asarray(residual), jnp.asarray(max(root_error, behind.max())), iterations)
    return BeliefPlan(
        root_value=chance @ value[at],
        q=tuple(q),
        value=tuple(np.split(value, cuts)),
        policy=policy,
        ties=tuple(np.split(ties, cuts)),
        error=tuple(error),
        value_error=tuple(np.split(behind, cuts)),
        reachable=beliefs,
        certificate=guarantee,
    )

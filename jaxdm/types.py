"""Records that cross module borders, and the protocols of worlds, agents and networks.

Shapes use one letter per dimension: `T` time steps of an episode, `N` tokens of a context. A field written
`[...]` has whatever shape the world gives it. No record has a batch axis: callers write `jax.vmap`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

Tree = Any
"""Any pytree of arrays."""


class Predrawn(NamedTuple):
    """A second entry to `Env.step` or `Agent.act`, for the rollout alone: an episode's noise is drawn at once.

    Hashing a key for every step is slow on a CPU: 256 episodes of 200 steps run 1.5 to 8 times faster without
    (`python -m experiments.speed`, rows "noise drawn at once").

    Fields:
        draw: `(key, T) -> noise`, any record of arrays with a leading axis [T]. It is told the number of decisions, and
            may refuse (ValueError) more than its agent has room for.
        apply: the same function with one row of the noise in place of its key.
    """

    draw: Callable[[jax.Array, int], Tree]
    apply: Callable[..., Any]

    def keyed(self, key: jax.Array, *arguments: Any) -> Any:
        """The function itself, which takes a key: `apply(draw(key, 1)[0], ...)`."""
        return self.apply(jax.tree.map(lambda x: x[0], self.draw(key, 1)), *arguments)


class Env(NamedTuple):
    """A world: two pure functions in gymnax's order.

    Fields:
        reset: `(key, params) -> (observation, state)`.
        step: `(key, state, action, params) -> (observation, state, reward, terminated, truncated, info)`.
            `terminated` says that the world ended, `truncated` that only the time did. There is no auto-reset.
        predrawn: a faster entry to `step` for the rollout, where there is one.
    """

    reset: Callable[..., tuple[Any, Tree]]
    step: Callable[..., tuple[Any, Tree, jax.Array, jax.Array, jax.Array, dict[str, Any]]]
    predrawn: Predrawn | None = None


class Agent(NamedTuple):
    """An actor: oracle, Hedge, Thompson sampling or a trained transformer, all through one contract.

    Fields:
        init: `(key, params) -> memory`, before the first decision of an episode.
        act: `(key, memory, observation, params) -> (action, memory)`.
        observe: `(memory, transition, params) -> memory`, after the world answered.
        predrawn: a faster entry to `act` for the rollout, where there is one.
    """

    init: Callable[[jax.Array, Tree], Tree]
    act: Callable[[jax.Array, Tree, Any, Tree], tuple[jax.Array, Tree]]
    observe: Callable[[Tree, "Transition", Tree], Tree]
    predrawn: Predrawn | None = None


class Transition(NamedTuple):
    """One step as the agent sees it: what it saw, did and got, and what it sees next."""

    observation: jax.Array  # [...]
    action: jax.Array  # [...]
    reward: jax.Array  # []
    next_observation: jax.Array  # [...]
    terminated: jax.Array  # [] bool
    truncated: jax.Array  # [] bool


class Episode(NamedTuple):
    """T consecutive transitions, with the hidden state that the oracle may look at and the agent may not."""

    observation: jax.Array  # [T, ...]
    action: jax.Array  # [T, ...]
    reward: jax.Array  # [T]
    next_observation: jax.Array  # [T, ...]
    terminated: jax.Array  # [T] bool
    truncated: jax.Array  # [T] bool
    state: Tree  # [T, ...] the state in which `action` was taken
    mask: jax.Array  # [T] bool, False from the first step after the episode ended


class Certificate(NamedTuple):
    """What an oracle guarantees of the values it returns.

    `bound` covers stopping and rounding: the exact value of the problem whose parameters round to the stored ones
    differs from the returned value by at most `bound` in any state. `residual` is the computed Bellman residual.
    """

    residual: jax.Array  # [] reward units
    bound: jax.Array  # [] reward units; +inf where nothing is guaranteed
    iterations: jax.Array  # [] int32


class Network(NamedTuple):
    """A sequence model behind a pure boundary; parameters are a plain pytree of arrays.

    Fields:
        init: `key -> params`.
        apply: `(params, tokens [..., N, F]) -> outputs [..., N, D]`, causal: output n depends on tokens 0..n. Leading
            axes are a batch, whose gradients are much faster than through `vmap`.
        prefill: `(params, tokens [N, F], capacity, length=N) -> (outputs [N, D], cache)` with room for `capacity >= N`
            tokens; only the first `length` (data) of them are remembered.
        step: `(params, cache, token [F]) -> (output [D], cache)`; equals the next row of `apply` on all tokens so far.
            A token for which the cache has no room is refused, and where that is not known on the host its output is
            NaN.
    """

    init: Callable[[jax.Array], Tree]
    apply: Callable[[Tree, jax.Array], jax.Array]
    prefill: Callable[..., tuple[jax.Array, Tree]]
    step: Callable[[Tree, Tree, jax.Array], tuple[jax.Array, Tree]]

"""Slow twins of the oracles of ambiguity: one history at a time, from unnormalised laws, in plain numpy."""

import numpy as np

from jaxdm.envs.apomdp import APOMDP


class Ambiguous:
    """The recursion of `jaxdm.oracles.ambiguity`, history by history, in float64."""

    def __init__(self, apomdp: APOMDP, attitude: float | None = None):
        fields = {name: np.asarray(value, np.float64) for name, value in apomdp._asdict().items()}
        self.transition, self.observation, self.reward = (
            fields[name] for name in ("transition", "observation", "reward")
        )
        self.start = [
            rho[:, None] * seen for rho, seen in zip(fields["initial"], fields["initial_observation"], strict=True)
        ]
        self.discount = float(fields["discount"])
        self.attitude = float(fields["attitude"]) if attitude is None else attitude
        self.actions, self.observations = self.reward.shape[1], self.observation.shape[-1]

    def weigh(self, values: list[float]) -> float:
        return self.attitude * min(values) + (1 - self.attitude) * max(values)

    def width(self, start: int) -> int:
        """How many histories the step has whose rows begin at `start`."""
        size = self.observations
        while start > 0:
            start -= size
            size *= self.actions * self.observations
        return size

    def first(self, observation: int) -> list[np.ndarray]:
        """Joint law of the first observation and the state, per model."""
        return [joint[:, observation] for joint in self.start]

    def next(self, laws: list[np.ndarray], action: int, observation: int) -> list[np.ndarray]:
        """Joint law of the longer history and the state, per model."""
        moved = [law @ self.transition[m][:, action] for m, law in enumerate(laws)]
        return [law * self.observation[m][action, :, observation] for m, law in enumerate(moved)]

    def q(
        self, laws: list[np.ndarray], horizon: int, policy: np.ndarray | None = None, node: int = 0, start: int = 0
    ) -> list[float]:
        """Values of the actions after the history with these joint laws, `horizon` steps to go."""
        alive = [m for m, law in enumerate(laws) if law.sum() > 0]
        values = []
        for action in range(self.actions):
            children = [self.next(laws, action, observation) for observation in range(self.observations)]
            # Rows of a step are one for each history; those of the next begin after them.
            first, after = (node * self.actions + action) * self.observations, start + self.width(start)
            ahead = [self.value(child, horizon - 1, policy, first + o, after) for o, child in enumerate(children)]
            g = []
            for m in alive:
                future = sum(child[m].sum() * value for child, value in zip(children, ahead, strict=True))
                g.append((laws[m] @ self.reward[:, action] + self.discount * future) / laws[m].sum())
            values.append(self.weigh(g))
        return values

    def value(
        self, laws: list[np.ndarray], horizon: int, policy: np.ndarray | None = None, node: int = 0, start: int = 0
    ) -> float:
        """Optimal, or that of `policy` [R, A], whose row of this history is `start + node`."""
        if horizon == 0 or not any(law.sum() > 0 for law in laws):
            return 0.0
        if policy is None:
            return max(self.q(laws, horizon))
        return float(policy[start + node] @ self.q(laws, horizon, policy, node, start))

    def root(self, horizon: int, policy: np.ndarray | None = None) -> float:
        """The value before the first observation."""
        ahead = [self.value(self.first(o), horizon, policy, o) for o in range(self.observations)]
        return self.weigh([float(joint.sum(axis=0) @ np.asarray(ahead)) for joint in self.start])

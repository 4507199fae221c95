"""How bad input is refused: on the host, before tracing, by an error that names the field."""

from typing import Any

import jax.core
import numpy as np


class InvalidInput(ValueError):
    """A value that the user gave is refused before any work; its text is one line for the user.

    Command lines show that line alone, where any other error, also jax's own `ValueError`s, shows its trace.
    """


ROW_SUM_TOLERANCE = float(np.finfo(np.float32).eps)
"""Times S: how far a stored row may be from one, so that kernels which passed through float32 are accepted."""


def check_distribution(name: str, distribution: Any) -> None:
    """Check that every row (last axis) of a concrete array is a probability distribution.

    Raises:
        InvalidInput: names `name`, the first bad entry or row sum, and what was expected.
    """
    distribution = np.asarray(distribution, np.float64)
    require(name, distribution >= 0, distribution, "probabilities >= 0")
    total = distribution.sum(axis=-1)
    require(name, np.abs(total - 1) <= distribution.shape[-1] * ROW_SUM_TOLERANCE, total, "rows that sum to 1")


def require(name: str, good: np.ndarray, value: Any, expected: str) -> None:
    """Raise `InvalidInput` that names the first entry of `value` where `good` is false, if it is anywhere."""
    if not np.all(good):
        where = tuple(int(i) for i in np.argwhere(~np.asarray(good))[0])
        at = f" at index {where}" if where else ""
        raise InvalidInput(f"{name}: {np.asarray(value)[where]:.8g}{at}; expected {expected}")


def check_sizes(**sizes: int) -> None:
    """Raise `InvalidInput` that names the first size below one."""
    for name, value in sizes.items():
        if value < 1:
            raise InvalidInput(f"{name}: {value}; expected at least 1")


def is_concrete(*arrays: Any) -> bool:
    """True when no array is traced, so that its values may be looked at on the host."""
    return not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(arrays))

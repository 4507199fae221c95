"""How bad input is refused: on the host, before tracing, by a `ValueError` that names the field.

    horizon: 1.5; expected an integer, at least 1
    transition: -0.1 at index (0, 1, 1); expected probabilities >= 0
    reward: shape (3, 2); expected [S, A] with S = 2

A function takes `value`s from anywhere and returns what it may be used as. Arguments that decide a shape or a loop's
length must be known before tracing; data (arrays, rates) may be traced, and then only shape and type are looked at.

Shapes are written `"S A S"`: one letter per axis, equal letters are equal sizes, none is zero, `...` stands for any
leading axes, and ` or ` for a choice. `S=3` gives a letter its size.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any

import jax.core
import jax.dtypes
import jax.numpy as jnp
import numpy as np


class InvalidInput(ValueError):
    """A value is refused before any work; its text is one line that names the field.

    Command lines show that line alone for what the user typed; raised during work it is a fault of the caller, and they
    show its trace.
    """


class RefusedFile(InvalidInput):
    """A file of the user's is not what this run may go on from; command lines show its line alone at any time."""


ROW_SUM_TOLERANCE = 1e-5
"""How far the sum of a row of probabilities may be from one, whatever its length; pomdp-solve's own tolerance."""


ROUNDED_ROW = 8
"""Times the rounding of its type: how far from one a row's sum may be and still be what rounding leaves of one."""


LARGEST_INTEGER = int(np.iinfo(np.int32).max)
"""What a count may be: steps and indices are int32 in every simulator and planner."""


SHOWN = 80
"""Characters of a wrong value that an error shows."""


def positive_integer(name: str, value: Any, at_most: int = LARGEST_INTEGER) -> int:
    """`value` as a Python integer in 1..at_most: no boolean, no float, nothing traced.

    Raises:
        InvalidInput: it is not.
    """
    return integer(name, value, 1, at_most)


def integer(name: str, value: Any, at_least: int, at_most: int = LARGEST_INTEGER) -> int:
    """`value` as a Python integer in at_least..at_most: no boolean, no float, nothing traced.

    Raises:
        InvalidInput: it is not.
    """
    wanted = f"an integer, at least {at_least}" + (f", at most {at_most}" if at_most < LARGEST_INTEGER else "")
    if isinstance(value, jax.core.Tracer):
        raise InvalidInput(f"{name}: a traced value; expected {wanted}, known before tracing")
    kind = getattr(getattr(value, "dtype", None), "kind", None)
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not (whole or (kind in "iu" if kind else False)) or np.ndim(value) != 0:
        raise InvalidInput(f"{name}: {shown(value)}; expected {wanted}")
    if int(value) > LARGEST_INTEGER >= at_most:
        raise InvalidInput(f"{name}: {shown(value)}; expected {wanted}, at most {at_most}")
    if not at_least <= int(value) <= at_most:
        raise InvalidInput(f"{name}: {shown(value)}; expected {wanted}")
    return int(value)


def whole_number(name: str, value: Any, at_least: int, at_most: int = LARGEST_INTEGER) -> Any:
    """`value` itself, an integer in at_least..at_most, such as an index, which may be traced.

    Raises:
        InvalidInput: a number of a float type, an array with axes, as `integer`.
    """
    if not isinstance(value, jax.core.Tracer):
        integer(name, value, at_least, at_most)
        return value
    if value.shape != () or not jnp.issubdtype(value.dtype, jnp.integer):
        raise InvalidInput(
            f"{name}: {value.dtype} of shape {value.shape}; expected an integer in {at_least}..{at_most}"
        )
    return value


def number(name: str, value: Any, good: Callable[[float], bool], expected: str) -> Any:
    """`value` itself, a real number or an array without axes, where `good` holds of it; NaN never is.

    Traced values pass: they are data, of which nothing is known yet.

    Raises:
        InvalidInput: text, nothing, a complex number, an array with axes, or not `good`.
    """
    if isinstance(value, jax.core.Tracer):
        if value.shape != () or not _is_real(value.dtype):
            raise InvalidInput(f"{name}: {value.dtype} of shape {value.shape}; expected {expected}")
        return value
    plain = isinstance(value, (int, float)) and not isinstance(value, bool)
    dtype = getattr(value, "dtype", None)
    array = dtype is not None and np.shape(value) == () and _is_real(dtype)
    if not (plain or array) or isinstance(value, np.ma.MaskedArray):
        raise InvalidInput(f"{name}: {shown(value)}; expected {expected}")
    try:
        accepted = not math.isnan(value) and bool(good(float(value)))
    except OverflowError:
        accepted = False
    if not accepted:
        raise InvalidInput(f"{name}: {shown(value)}; expected {expected}")
    return value


def positive_number(name: str, value: Any) -> Any:
    """A finite number above zero; as `number`."""
    return number(name, value, lambda x: 0 < x < math.inf, "a positive finite number")


def nonnegative_number(name: str, value: Any) -> Any:
    """A finite number, zero or above; as `number`."""
    return number(name, value, lambda x: 0 <= x < math.inf, "a finite number >= 0")


def tolerance(name: str, value: Any) -> Any:
    """The accuracy at which an iteration may stop: a positive number, where infinity stops at once; as `number`."""
    return number(name, value, lambda x: x > 0, "a positive number")


def probability(name: str, value: Any) -> Any:
    """A number in [0, 1]; as `number`."""
    return number(name, value, lambda x: 0 <= x <= 1, "a number in [0, 1]")


def number_in(name: str, value: Any, low: float, high: float) -> Any:
    """A number in [low, high]; as `number`."""
    return number(name, value, lambda x: low <= x <= high, f"a number in [{low:g}, {high:g}]")


def choice(name: str, value: Any, choices: Iterable[str]) -> str:
    """`value`, if it is one of the words.

    Raises:
        InvalidInput: it is not.
    """
    words = tuple(choices)
    if not isinstance(value, str) or value not in words:
        raise InvalidInput(f"{name}: {shown(value)}; expected one of {', '.join(words)}")
    return value


def record(name: str, value: Any, kind: Any) -> None:
    """Check that `value` has the fields of a record's type.

    Raises:
        InvalidInput: it has not.
    """
    if not all(hasattr(value, field) for field in kind._fields):
        raise InvalidInput(f"{name}: {type(value).__name__}; expected {kind.__name__}")


def float_type(dtype: Any) -> Any:
    """The type that numbers are stored in: float32 or float64; that of jax when left out.

    Raises:
        InvalidInput: `dtype` is another: float16 has three digits, and rows of probabilities would not sum to one.
    """
    try:
        found = jnp.dtype(jnp.result_type(float) if dtype is None else dtype)
    except TypeError:
        found = None
    if found is None or found not in (jnp.dtype(np.float32), jnp.dtype(np.float64)):
        raise InvalidInput(f"dtype: {shown(dtype)}; expected float32 or float64")
    return found


def real_array(
    name: str, value: Any, axes: str | None = None, dtype: Any = None, finite: bool = True, **sizes: int
) -> jax.Array:
    """`value`, anything like an array of real numbers, as an array of jax.

    Args:
        name: of the field.
        value: numbers, lists of equal length, or arrays, also traced ones.
        axes: its shape, as this module writes them; any when left out.
        dtype: float32 or float64; that of jax when left out.
        finite: refuse infinite numbers; NaN is refused in any case.
        **sizes: of letters in `axes`.

    Raises:
        InvalidInput: text, nothing, ragged lists, complex numbers, masked arrays, half precision, numbers beyond the
            float type, NaN, or another shape.
    """
    dtype = float_type(dtype)
    numbers = _numbers(name, value, _is_real, "real numbers")
    check_shape(name, numbers, axes, **sizes)
    if numbers.dtype in (jnp.dtype(jnp.float16), jnp.dtype(jnp.bfloat16)):
        raise InvalidInput(
            f"{name}: {numbers.dtype} numbers; expected float32 or float64, as half precision is too coarse"
        )
    if not is_concrete(numbers):
        return jnp.asarray(numbers, dtype)
    require(name, np.isfinite(numbers) if finite else ~np.isnan(numbers), numbers, "finite numbers")
    numbers = np.asarray(numbers)
    with np.errstate(over="ignore"):
        stored = numbers.astype(jax.dtypes.canonicalize_dtype(dtype), copy=False)
    require(name, np.isfinite(stored) | ~np.isfinite(numbers), numbers, f"numbers that {stored.dtype} can hold")
    return jnp.asarray(value if isinstance(value, jax.Array) else stored, dtype)


def float_array(name: str, value: Any, axes: str | None = None, **sizes: int) -> jax.Array:
    """`real_array` in the float type that the array has; in that of jax where it has none.

    Raises:
        InvalidInput: as `real_array`.
    """
    dtype = getattr(value, "dtype", None)
    own = dtype in (jnp.dtype(jnp.float32), jnp.dtype(jnp.float64)) if dtype is not None else False
    return real_array(name, value, axes, jax.dtypes.canonicalize_dtype(dtype) if own else None, True, **sizes)


def integer_array(
    name: str, value: Any, axes: str | None = None, at_least: int = 0, at_most: int = LARGEST_INTEGER, **sizes: int
) -> jax.Array:
    """`value`, anything like an array of integers in at_least..at_most, as an int32 array of jax; as `real_array`.

    Raises:
        InvalidInput: numbers that are no integers, too small or too large, or as `real_array`.
    """
    numbers = _numbers(name, value, lambda dtype: jnp.issubdtype(dtype, jnp.integer), "integers")
    check_shape(name, numbers, axes, **sizes)
    if is_concrete(numbers):
        require(name, (numbers >= at_least) & (numbers <= at_most), numbers, f"integers in {at_least}..{at_most}")
    return jnp.asarray(numbers, jnp.int32)


def boolean_array(name: str, value: Any, axes: str | None = None, **sizes: int) -> jax.Array:
    """`value`, anything like an array of booleans, as such an array of jax; as `real_array`.

    Raises:
        InvalidInput: numbers, also zeros and ones, which might be meant as indices, or as `real_array`.
    """
    found = _numbers(name, value, lambda dtype: jnp.issubdtype(dtype, jnp.bool_), "booleans")
    check_shape(name, found, axes, **sizes)
    return jnp.asarray(found)


def distribution(name: str, value: Any, axes: str = "S", dtype: Any = None, **sizes: int) -> jax.Array:
    """`value` as an array whose rows, along the last axis, are probability distributions; a belief is one.

    Raises:
        InvalidInput: as `real_array` and `check_distribution`.
    """
    found = real_array(name, value, axes, dtype, True, **sizes)
    if is_concrete(found):
        check_distribution(name, found)
    return found


def check_distribution(name: str, distribution: Any) -> None:
    """Check that every row (last axis) of a concrete array is a probability distribution.

    Raises:
        InvalidInput: names `name`, the first bad entry or row sum, and what was expected.
    """
    distribution = np.asarray(distribution, np.float64)
    require(name, distribution >= 0, distribution, "probabilities >= 0")
    total = distribution.sum(axis=-1)
    require(name, np.abs(total - 1) <= ROW_SUM_TOLERANCE, total, "rows that sum to 1")


def distributions(name: str, value: Any, axes: str | None = None, dtype: Any = None, **sizes: int) -> jax.Array:
    """`real_array` whose rows (last axis) are `normalised`, for a record whose `validate` checks them.

    Raises:
        InvalidInput: as `real_array`.
    """
    return normalised(real_array(name, value, axes, dtype, True, **sizes))


def normalised(rows: jax.Array) -> jax.Array:
    """Rows (last axis) of probabilities, those divided by their sum whose distance from one is more than rounding.

    One rule, for arrays and files, short rows and long ones: within `ROUNDED_ROW` times the rounding of its type of one
    a row stays as it is, which the certificates of planners cover; within `ROW_SUM_TOLERANCE` it is divided; others are
    for `check_distribution` to refuse. What is traced is taken as it is.
    """
    if not is_concrete(rows) or rows.ndim == 0:
        return rows
    wide = np.asarray(rows, np.float64)
    total = wide.sum(axis=-1, keepdims=True)
    off = np.abs(total - 1)
    divided = (off > ROUNDED_ROW * float(jnp.finfo(rows.dtype).eps)) & (off <= ROW_SUM_TOLERANCE)
    if not divided.any():
        return rows
    return jnp.asarray(np.where(divided, wide / np.where(divided, total, 1), wide), rows.dtype)


def check_shape(name: str, array: Any, axes: str | None, **sizes: int) -> None:
    """Check the shape of an array, traced or not, as this module writes shapes.

    Raises:
        InvalidInput: names the shape found and the one expected; more axes than expected are batches, for `jax.vmap`.
    """
    shape = getattr(array, "shape", None)
    if shape is None:
        raise InvalidInput(f"{name}: {shown(array)}; expected an array")
    if axes is None or any(_fits(shape, choice.split(), sizes) for choice in axes.split(" or ")):
        return
    written = " or ".join(f"[{', '.join(choice.replace('... ', '').split())}]" for choice in axes.split(" or "))
    given = ", ".join(f"{letter} = {size}" for letter, size in sizes.items() if letter in axes.split())
    several = "..." not in axes and len(shape) > max(len(choice.split()) for choice in axes.split(" or "))
    beside = f" with {given}" if given else ""
    empty = ", no axis empty" if 0 in shape else ""
    more = ", and jax.vmap for several" if several else ""
    raise InvalidInput(f"{name}: shape {tuple(shape)}; expected {written}{beside}{empty}{more}")


def _fits(shape: tuple[int, ...], letters: list[str], sizes: dict[str, int]) -> bool:
    if letters[:1] == ["..."]:
        letters = letters[1:]
        shape = shape[max(len(shape) - len(letters), 0) :]
    found: dict[str, int] = {}
    return len(shape) == len(letters) and all(
        size >= 1 and size == found.setdefault(letter, sizes.get(letter, size))
        for size, letter in zip(shape, letters, strict=True)
    )


def _numbers(name: str, value: Any, good: Callable[[Any], bool], expected: str) -> Any:
    """`value` as an array, of numpy where it is not traced, whose type is `good`."""
    if isinstance(value, np.ma.MaskedArray):
        raise InvalidInput(f"{name}: a masked array; expected {expected} without holes")
    try:
        found = np.asarray(value) if is_concrete(value) else jnp.asarray(value)
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"{name}: {shown(value)}; expected {expected}, in lists of equal length") from error
    if not good(found.dtype):
        raise InvalidInput(f"{name}: {shown(value)} ({found.dtype}); expected {expected}")
    return found


def _is_real(dtype: Any) -> bool:
    return any(jnp.issubdtype(dtype, kind) for kind in (jnp.floating, jnp.integer, jnp.bool_))


def shown(value: Any) -> str:
    """A wrong value in a message: whole where it is short."""
    try:
        text = " ".join(repr(value).split())
    except Exception:
        text = f"a {type(value).__name__}"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}... ({type(value).__name__})"


def require(name: str, good: Any, value: Any, expected: str) -> None:
    """Raise `InvalidInput` that names the first entry of `value` where `good` is false, if it is anywhere."""
    if not np.all(good):
        where = tuple(int(i) for i in np.argwhere(~np.asarray(good))[0])
        at = f" at index {where}" if where else ""
        raise InvalidInput(f"{name}: {np.asarray(value)[where]:.8g}{at}; expected {expected}")


def check_sizes(**sizes: Any) -> None:
    """Raise `InvalidInput` that names the first size that is no integer, at least one."""
    for name, value in sizes.items():
        positive_integer(name, value)


def is_concrete(*arrays: Any) -> bool:
    """True when no array is traced, so that its values may be looked at on the host."""
    return not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(arrays))

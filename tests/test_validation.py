"""What each check accepts, what it refuses, and that the message names the field, the value and what was expected."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdm import validation as v

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize("value", [1, 3, np.int64(3), np.uint8(3), 2**31 - 1, np.array(3)])
def test_integers_come_back_as_python_ones(value):
    found = v.positive_integer("horizon", value)
    assert found == int(value)
    assert type(found) is int


@pytest.mark.parametrize("value", [1.5, 2.0, "3", 2**31, 2**70, 0, -1, NAN, True, None, [3], np.array([3]), 1j])
def test_what_is_no_positive_integer_is_refused_by_name(value):
    with pytest.raises(v.InvalidInput, match=r"^horizon: .*; expected an integer, at least 1"):
        v.positive_integer("horizon", value)


def test_an_integer_must_be_known_before_tracing():
    with pytest.raises(v.InvalidInput, match=r"^horizon: a traced value; expected an integer"):
        jax.make_jaxpr(lambda n: v.positive_integer("horizon", n))(3)


@pytest.mark.parametrize("value", [0.5, 1, np.float32(0.5), jnp.asarray(1), 1e-300, INF])
def test_a_tolerance_comes_back_as_it_is(value):
    assert v.tolerance("tolerance", value) is value


@pytest.mark.parametrize("value", [0, -1, NAN, "1", None, 1j, [0.5], True, 10**400, np.ma.masked_array(1.0), -INF])
def test_what_is_no_tolerance_is_refused_by_name(value):
    with pytest.raises(v.InvalidInput, match=r"^tolerance: .*; expected a positive number$"):
        v.tolerance("tolerance", value)


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (v.positive_number, 1e-9, INF),
        (v.nonnegative_number, 0, -1e-9),
        (v.probability, 1, 1.0001),
        (lambda name, value: v.number_in(name, value, 1e-13, 1), 1e-13, 1e-20),
        (lambda name, value: v.choice(name, value, ["sampled", "output"]), "output", 3),
    ],
)
def test_numbers_and_words_at_their_edges(check, good, bad):
    assert check("field", good) == good
    with pytest.raises(v.InvalidInput, match=r"^field: "):
        check("field", bad)


def test_traced_numbers_pass_unless_their_type_is_wrong():
    jax.make_jaxpr(lambda x: v.probability("p", x))(2.0)
    for bad in (jnp.ones(2), 1j):
        with pytest.raises(v.InvalidInput, match=r"^p: .*; expected a number in \[0, 1\]"):
            jax.make_jaxpr(lambda x: v.probability("p", x))(bad)


@pytest.mark.parametrize(
    "value",
    [
        [[1, 2], [3]],
        "abc",
        None,
        [[1, None], [2, 3]],
        np.eye(2) * 1j,
        np.eye(2, dtype=np.float16),
        jnp.eye(2, dtype=jnp.bfloat16),
        np.ma.masked_array(np.eye(2), np.eye(2, dtype=bool)),
        [[10**400, 1], [1, 1]],
        [[1e39, 0], [0, 1]],
        [[NAN, 0], [0, 1]],
        [[INF, 0], [0, 1]],
        [[1, 2, 3], [3, 4, 5]],
        np.eye(3),
        [1, 2],
        [],
        np.zeros((3, 2, 2)),
        object(),
        {"a": 1.0},
    ],
)
def test_what_is_no_array_of_real_numbers_is_refused_by_name(value):
    with pytest.raises(v.InvalidInput, match=r"^reward: "):
        v.real_array("reward", value, "S S", S=2)


def test_arrays_come_back_in_the_float_type_of_jax():
    for value in ([[1, 2], [3, 4]], np.arange(1, 5).reshape(2, 2), jnp.array([[1.0, 2], [3, 4]])):
        found = v.real_array("reward", value, "S A", S=2)
        assert found.dtype == jnp.result_type(float)
        np.testing.assert_array_equal(found, [[1, 2], [3, 4]])
    with jax.enable_x64(True):
        assert v.real_array("reward", [1.0]).dtype == jnp.float64
        assert v.real_array("reward", [1e39]).item() == 1e39
        assert v.real_array("reward", [1.0], dtype=jnp.float32).dtype == jnp.float32


@pytest.mark.parametrize("dtype", [int, jnp.float16, jnp.bfloat16, complex, "text", 3])
def test_numbers_are_stored_in_single_or_double_precision(dtype):
    with pytest.raises(v.InvalidInput, match=r"^dtype: .*; expected float32 or float64"):
        v.real_array("reward", [1.0], dtype=dtype)


def test_infinite_rewards_pass_where_they_are_allowed_and_nan_never():
    assert np.isneginf(v.real_array("reward", [-INF, 0], finite=False)[0])
    with pytest.raises(v.InvalidInput, match=r"^reward: nan at index \(1,\); expected"):
        v.real_array("reward", [-INF, NAN], finite=False)


def test_traced_arrays_are_checked_for_shape_and_type():
    assert jax.jit(lambda x: v.real_array("x", [x, 1 - x], "K", K=2))(0.25).tolist() == [0.25, 0.75]
    with pytest.raises(v.InvalidInput, match=r"^x: shape \(2,\); expected \[K\] with K = 3"):
        jax.make_jaxpr(lambda x: v.real_array("x", x, "K", K=3))(jnp.ones(2))
    with pytest.raises(v.InvalidInput, match=r"^x: .*complex"):
        jax.make_jaxpr(lambda x: v.real_array("x", x))(1j)


@pytest.mark.parametrize(
    ("shape", "axes", "sizes", "message"),
    [
        ((2, 3, 4), "S A S", {}, r"x: shape \(2, 3, 4\); expected \[S, A, S\]$"),
        ((5, 2, 3, 2), "S A S", {}, r"expected \[S, A, S\], and jax.vmap for several$"),
        ((2, 0, 2), "S A S", {}, r"expected \[S, A, S\], no axis empty$"),
        ((2, 2), "S A", {"S": 2, "A": 3}, r"expected \[S, A\] with S = 2, A = 3$"),
        ((5, 2), "... K", {"K": 3}, r"expected \[K\] with K = 3$"),
        ((), "K or M K", {}, r"expected \[K\] or \[M, K\]$"),
    ],
)
def test_shapes_in_messages(shape, axes, sizes, message):
    with pytest.raises(v.InvalidInput, match=message):
        v.check_shape("x", np.zeros(shape), axes, **sizes)


@pytest.mark.parametrize(
    ("shape", "axes", "sizes"),
    [
        ((2, 3, 2), "S A S", {"A": 3}),
        ((5, 4, 2, 3, 2), "... S A S", {}),
        ((3,), "... K", {"K": 3}),
        ((2, 3), "K or M K", {}),
        ((), "", {}),
    ],
)
def test_shapes_that_fit(shape, axes, sizes):
    v.check_shape("x", np.zeros(shape), axes, **sizes)


@pytest.mark.parametrize("belief", [[2, -1], [0.5, 0.4], [NAN, 1], [0.5, 0.25, 0.25], [[0.5, 0.5]], "ab"])
def test_what_is_no_belief_is_refused_by_name(belief):
    with pytest.raises(v.InvalidInput, match=r"^belief: "):
        v.distribution("belief", belief, "S", S=2)


def test_indices_and_booleans():
    assert v.integer_array("actions", [0, 4], "T", at_most=4).dtype == jnp.int32
    assert v.boolean_array("available", [False, True]).tolist() == [False, True]
    for check, bad in (
        (v.integer_array, [0, 1.5]),
        (v.integer_array, [-1]),
        (v.integer_array, [2**31]),
        (v.boolean_array, [0, 1]),
        (v.boolean_array, "ab"),
    ):
        with pytest.raises(v.InvalidInput, match=r"^field: "):
            check("field", bad)


def test_a_long_wrong_value_is_cut():
    with pytest.raises(v.InvalidInput) as error:
        v.positive_integer("count", "9" * 10_000_000)
    assert len(str(error.value)) < 200

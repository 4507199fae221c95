"""Sampling by inverse CDF at its edges, masked means, casts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdm import numerics, random, validation

sample = jax.jit(jax.vmap(random.sample_index, in_axes=(None, 0)))


thresholds = jax.jit(random.inverse_cdf)


def test_inverse_cdf_is_the_running_sum_and_marks_what_cannot_happen():
    found = thresholds(jnp.array([0.0, 0.25, 0.0, 0.5, 0.25, 0.0]))
    np.testing.assert_array_equal(found, [-1.0, 0.25, -1.0, 0.75, 1.0, -1.0])


def test_sample_index_by_hand():
    law = thresholds(jnp.array([0.0, 0.25, 0.0, 0.5, 0.25, 0.0]))
    uniform = jnp.array([0.0, 0.2, 0.25, 0.5, 0.75, np.nextafter(np.float32(1), np.float32(0))])
    assert sample(law, uniform).tolist() == [1, 1, 3, 3, 4, 4]
    assert sample(law, uniform).dtype == jnp.int32


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_has_probability_zero_is_never_drawn_at_any_edge(dtype):
    """At u = 0, at the largest u below 1, and on and beside every threshold, for many sparse laws."""
    rng = np.random.default_rng(0)
    with jax.enable_x64(dtype is np.float64):
        for _ in range(200):
            law = rng.dirichlet(np.ones(9)) * (rng.random(9) < 0.5)
            law[rng.integers(9)] += 0.1
            law = (law / law.sum()).astype(dtype)
            edges = thresholds(jnp.asarray(law))
            edge = np.asarray(edges / edges.max())
            uniform = np.concatenate([edge, np.nextafter(edge, dtype(0)), np.nextafter(edge, dtype(1)), [0, 0.5]])
            uniform = np.clip(uniform, dtype(0), np.nextafter(dtype(1), dtype(0))).astype(dtype)
            drawn = np.asarray(sample(edges, jnp.asarray(uniform)))
            assert drawn.max() < 9
            assert np.all(law[drawn] > 0)


def test_rows_need_not_sum_to_one(double):
    law = jnp.array([0.1, 0.3, 0.2])
    uniform = jnp.linspace(0, 1, 6001)[:-1]
    share = jnp.bincount(sample(thresholds(law), uniform), length=3) / 6000
    np.testing.assert_allclose(share, law / 0.6, atol=1 / 6000)


def test_sampled_law_within_5_standard_errors():
    law = np.array([0.05, 0.0, 0.6, 0.35], np.float32)
    count = 100_000
    uniform = random.uniform(jax.random.key(0), (count,))
    share = np.bincount(sample(thresholds(jnp.asarray(law)), uniform), minlength=4) / count
    assert np.all(np.abs(share - law) <= 5 * np.sqrt(law * (1 - law) / count))


@pytest.mark.parametrize("shape", [(), (7,), (3, 4), (2, 3, 0), (2, 3, 5)])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_uniform_draws_the_numbers_of_jax(double, shape, dtype):
    key = jax.random.key(3)
    assert jnp.array_equal(random.uniform(key, shape, dtype), jax.random.uniform(key, shape, dtype))


def test_masked_mean_is_the_mean_of_what_is_kept():
    values = jnp.array([[1.0, 2.0], [3.0, 100.0]])
    mask = jnp.array([[True, True], [True, False]])
    assert numerics.masked_mean(values, mask) == 2.0
    assert numerics.masked_mean(values, jnp.zeros((2, 2), bool)) == 0.0
    assert numerics.masked_mean(values, jnp.ones((2, 2), bool)) == jnp.mean(values)


def test_cast_floats_leaves_other_leaves_alone(double):
    key = jax.random.key(0)
    tree = {"x": jnp.ones(2), "n": jnp.arange(2), "key": key, "mask": jnp.array(True)}
    found = numerics.cast_floats(tree, jnp.float32)
    assert found["x"].dtype == jnp.float32
    assert found["n"] is tree["n"]
    assert found["mask"] is tree["mask"]
    assert found["key"] is key


def test_is_concrete_knows_traced_arrays():
    seen = []

    @jax.jit
    def look(x):
        seen.append(validation.is_concrete(x, 1.0))
        return x

    look(jnp.ones(2))
    assert seen == [False]
    assert validation.is_concrete(jnp.ones(2), 3, np.ones(1))


def test_pieces_are_the_whole():
    inputs = jnp.arange(12.0).reshape(6, 2)

    def function(row):
        return (jnp.sum(row**2), row[::-1])

    whole = jax.vmap(function)(inputs)
    for size in (1, 4, 6, 50):
        pieces = jax.jit(lambda rows, size=size: numerics.batched_map(function, rows, size))(inputs)
        np.testing.assert_array_equal(pieces[0], whole[0])
        np.testing.assert_array_equal(pieces[1], whole[1])

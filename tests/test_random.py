"""The same numbers as jax.random; gamma quantiles as exact as stated; beta variates with the right law."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from scipy import special

from jaxdm import random
from jaxdm.learners import gamma


@pytest.mark.parametrize("shape", [(), (37, 10)])
def test_numbers_are_those_of_jax_random(shape):
    key = jax.random.key(5)
    first, second = random.words(key, shape)
    np.testing.assert_array_equal(first ^ second, jax.random.bits(key, shape))
    np.testing.assert_array_equal(random.uniform(key, shape), jax.random.uniform(key, shape))
    np.testing.assert_array_equal(random.normal(key, shape), jax.random.normal(key, shape))


def test_keys_are_those_of_jax_random():
    key = jax.random.key(5)
    ours, theirs = (jax.random.key_data(f(key, 9)) for f in (random.split, jax.random.split))
    np.testing.assert_array_equal(ours, theirs)


def test_batches_of_keys_and_other_generators_work():
    keys = jax.random.split(jax.random.key(1), 3)
    many = jax.vmap(lambda key: random.uniform(key, (4,)))(keys)
    np.testing.assert_array_equal(many[2], jax.random.uniform(keys[2], (4,)))
    assert random.uniform(jax.random.key(1, impl="rbg"), (4,)).shape == (4,)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gamma_quantiles_are_as_exact_as_stated(dtype):
    score = np.linspace(-gamma.LARGEST_SCORE, gamma.LARGEST_SCORE, 401)[:, None]
    shape = np.concatenate([[1, 2, 3], np.geomspace(1, 1e5, 300)])[None]
    score, shape = (np.ascontiguousarray(x) for x in np.broadcast_arrays(score, shape))
    with jax.enable_x64(dtype == np.float64):
        found = jax.jit(gamma.log_gamma)(jnp.asarray(score, dtype), jnp.asarray(shape, dtype))
        assert found.dtype == dtype
    found = np.exp(np.asarray(found, np.float64))
    # In float32 a quantile of a large shape is known to a few eps of itself, hence to eps sqrt(shape) deviations.
    rounding = 8 * np.finfo(dtype).eps * np.sqrt(shape) * (1 + np.log(shape))
    below, above = special.gammainc(shape, found), special.gammaincc(shape, found)
    assert np.max(np.abs(below - special.ndtr(score))) <= gamma.LEVEL_ERROR + 0.4 * rounding.max()
    error = np.abs(np.where(score < 0, special.ndtri(below), -special.ndtri(above)) - score)
    assert np.all(error <= gamma.SCORE_ERROR + rounding)


@pytest.mark.parametrize(("a", "b"), [(1, 1), (1, 30), (7, 2), (400, 600)])
def test_differences_of_log_gammas_are_beta(a, b):
    score = random.normal(jax.random.key(2), (2, 100_000))
    sample = jax.nn.sigmoid(gamma.log_gamma(score[0], jnp.float32(a)) - gamma.log_gamma(score[1], jnp.float32(b)))
    distance = scipy.stats.kstest(np.asarray(sample, np.float64), scipy.stats.beta(a, b).cdf).statistic
    # Dvoretzky, Kiefer, Wolfowitz: exceeded with chance 2 exp(-2 n d^2) = 6e-7, that of five standard errors.
    assert distance <= np.sqrt(np.log(2 / 6e-7) / 2 / 100_000) + 2 * gamma.LEVEL_ERROR


def test_folded_keys_and_doubles_are_those_of_jax_random(double):
    key = jax.random.key(5)
    for data in (0, 7, 2**31):
        ours, theirs = (jax.random.key_data(f(key, data)) for f in (random.fold_in, jax.random.fold_in))
        np.testing.assert_array_equal(ours, theirs)
    numbers = random.uniform(key, (3, 5), jnp.float64)
    np.testing.assert_array_equal(numbers, jax.random.uniform(key, (3, 5), jnp.float64))
    normals = random.normal(key, (3, 5), jnp.float64)
    np.testing.assert_array_equal(normals, jax.random.normal(key, (3, 5), jnp.float64))
    rbg = jax.random.key(5, impl="rbg")
    for f, g in ((random.split, jax.random.split), (random.fold_in, jax.random.fold_in)):
        np.testing.assert_array_equal(jax.random.key_data(f(rbg, 3)), jax.random.key_data(g(rbg, 3)))


def test_places_are_every_order_equally_often():
    count = 24_000
    keys = jax.random.split(jax.random.key(3), count)
    found = np.asarray(jax.jit(jax.vmap(lambda key: random.places(key, 3)))(keys))
    orders, often = np.unique(found, axis=0, return_counts=True)
    assert orders.tolist() == sorted(orders.tolist())
    assert len(orders) == 6
    assert np.all(np.sort(found, axis=1) == np.arange(3))
    assert np.all(np.abs(often - count / 6) <= 5 * np.sqrt(count * 5 / 36))


def test_an_outcome_of_probability_zero_is_marked_so_that_rounding_gives_it_no_chance():
    found = random.inverse_cdf(jnp.asarray([0.25, 0.0, 0.75, 0.0]))
    np.testing.assert_array_equal(found, [0.25, -1, 1, -1])

"""Closed forms of the no-regret theorems against reference values, and what the theorems' measurements rely on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdm.tokens import TOKEN_SCALE
from theory.no_regret import attention_player, bandit_layer, selection_round
from theory.no_regret.n3_regret_loss import LossSetting, optimal_gain
from theory.no_regret.n4_selection_law import projected_moments
from theory.no_regret.n13_selection_threshold import enumerated_factor
from theory.no_regret.selection_round import RoundData, RoundSizes


@pytest.mark.parametrize(
    ("variances", "length", "diagonal"),
    [
        ((1.0, 1.0), 25, (0.12533, 0.12533)),
        ((1.0, 1.0, 1.0), 25, (0.10638,) * 3),
        ((1.0,) * 5, 100, (0.04255,) * 5),
        ((1.0, 1.0), 100, (0.06267, 0.06267)),
        ((1.0,), 25, (0.15958,)),
    ],
)
def test_the_optimum_of_the_squared_regret_has_its_reference_values(variances, length, diagonal):
    found = optimal_gain(LossSetting(variances=variances, length=length))
    np.testing.assert_allclose(found, -np.diag(diagonal), atol=0.51e-5)


def test_the_optimum_for_unequal_variances_is_the_mean_hessian_of_the_norm():
    setting = LossSetting(variances=(4.0, 0.25), length=25)
    s = np.random.default_rng(0).normal(size=(200_000, 2)) * np.sqrt(setting.variances)
    norm = np.linalg.norm(s, axis=1, keepdims=True)
    entries = -(1 - (s / norm) ** 2) / norm / setting.length**0.5
    error = 5 * entries.std(0) / len(s) ** 0.5
    assert np.all(np.abs(entries.mean(0) - np.diag(optimal_gain(setting))) <= error)


def test_means_of_selected_normals_are_those_of_order_statistics():
    assert selection_round.selected_normal(4, 64) == pytest.approx(-1.91070, abs=0.5e-5)
    assert selection_round.selected_normal(1, 2) == pytest.approx(-(np.pi**-0.5), rel=1e-12)
    assert selection_round.selected_normal(7, 7) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("sequences", ["shared", "fresh"])
def test_the_rounds_sequences_are_those_that_were_played(sequences, double):
    sizes, data = RoundSizes(length=6, rollouts=3, sequences=sequences), RoundData()
    played, noise = selection_round.collected(jax.random.key(0), 4, sizes, data)
    losses = selection_round.losses_of(jax.random.key(0), sizes, data.strength, 4)
    np.testing.assert_allclose(played.tokens[..., 1:, 2:4], TOKEN_SCALE * losses[..., :-1, :], rtol=1e-12)
    assert noise.shape == (4, 3, 6, 2)
    assert float(jnp.std(noise)) == pytest.approx(data.exploration, rel=5 / noise.size**0.5)


def test_the_layer_plays_its_gain_times_the_sum_of_losses_step_by_step_too(double):
    losses = jax.random.normal(jax.random.key(0), (9, 3))
    tokens = jnp.concatenate([jnp.ones((9, 3)), jnp.roll(TOKEN_SCALE * losses, 1, 0), jnp.eye(9)[:, :1]], axis=1)
    tokens = tokens.at[0, 3:6].set(0)
    layer = attention_player.summing_layer(3)
    gain = jax.random.normal(jax.random.key(1), (3, 3))
    weights = attention_player.gain_weights(gain)
    np.testing.assert_allclose(layer.apply(weights, tokens), (jnp.cumsum(losses, 0) - losses) @ gain.T, atol=1e-12)
    np.testing.assert_allclose(attention_player.effective_gain(weights), gain, rtol=1e-12)
    weights = attention_player.random_weights(jax.random.key(2), 3)
    whole, cache = layer.prefill(weights, tokens[:4], 9)
    rows = list(whole)
    for token in tokens[4:]:
        row, cache = layer.step(weights, cache, token)
        rows.append(row)
    np.testing.assert_allclose(jnp.stack(rows), layer.apply(weights, tokens), atol=1e-12)


def test_the_bandit_layer_sums_pulls_and_rewards_step_by_step_too(double):
    pulls = jax.nn.one_hot(jnp.asarray([2, 0, 0, 1, 2]), 3)
    signs = jnp.asarray([1.0, -1.0, 1.0, 1.0, -1.0])[:, None]
    past = jnp.concatenate([pulls, signs * pulls], axis=1)
    tokens = jnp.concatenate([jnp.ones((5, 3)), TOKEN_SCALE * past, jnp.zeros((5, 1))], axis=1)
    layer = bandit_layer.layer(3)
    weights = dict(zip(bandit_layer.WEIGHTS, (0.3, -0.7, 1.1, 0.2), strict=True))
    sums = jnp.cumsum(past, axis=0)
    stated = 0.3 * past[:, :3] - 0.7 * past[:, 3:] + 1.1 * sums[:, :3] + 0.2 * sums[:, 3:]
    np.testing.assert_allclose(layer.apply(weights, tokens), stated, atol=1e-12)
    whole, cache = layer.prefill(weights, tokens[:3], 5, jnp.int32(2))
    np.testing.assert_allclose(whole, stated[:3], atol=1e-12)
    for token, row in zip(tokens[2:], stated[2:], strict=True):
        found, cache = layer.step(weights, cache, token)
        np.testing.assert_allclose(found, row, atol=1e-12)


@pytest.mark.parametrize(
    ("arms", "share", "factor"), [(5, 0.25, 1.77), (5, 0.35, 1.48), (2, 0.6, 1.68), (2, 0.75, 1.35)]
)
def test_the_enumerated_factor_is_near_its_reference_values(arms, share, factor):
    """These were measured, to about a hundredth."""
    assert enumerated_factor(arms, share, 0.004) == pytest.approx(factor, abs=0.03)


def test_moments_of_projected_noise_at_the_centre_are_those_of_its_radius():
    """`P(|sigma xi| > 1) = exp(-1 / (2 sigma^2))` in the plane."""
    for sigma in (0.2, 1.0, 2.5):
        found = projected_moments(sigma, 1.0)
        inside = 2 * sigma**2 * (1 - np.exp(-1 / (2 * sigma**2)) * (1 + 1 / (2 * sigma**2)))
        square = inside + np.exp(-1 / (2 * sigma**2))
        np.testing.assert_allclose([found.along[0], found.across[0]], square / 2, rtol=0.01)  # of a kinked integrand

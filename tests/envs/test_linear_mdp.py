"""Linear MDPs: their tabular view, their weights, and what they refuse."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdm.envs import linear_mdp, mdp
from jaxdm.oracles.mdp import planning
from tests.references import mdp as reference

S, A, D, H = 5, 3, 2, 4


family = functools.partial(linear_mdp.random, states=S, actions=A, dimension=D, horizon=H)


draw = jax.jit(jax.vmap(family))


@functools.cache
def instances():
    with jax.enable_x64(True):
        return draw(jax.random.split(jax.random.key(0), 30))


def test_the_tabular_view_is_the_mixture_summed_by_hand(double):
    linear = jax.tree.map(lambda x: x[0], instances())
    stages = linear_mdp.tabular(linear)
    mdp.validate(stages)
    phi, theta, mu = (np.asarray(x) for x in (linear.features, linear.theta, linear.mu))
    for h, s, a in np.ndindex(H, S, A):
        law = sum(phi[s, a, i] * mu[h, i] for i in range(D))
        np.testing.assert_allclose(stages.transition[h, s, a], law, rtol=1e-14)
        pay = sum(phi[s, a, i] * theta[h, i] for i in range(D))
        np.testing.assert_allclose(stages.reward[h, s, a], pay, rtol=1e-14)
    assert jnp.all(stages.discount == 1)


def test_one_hot_features_are_any_tabular_mdp(double):
    """With d = S A every finite-horizon MDP is linear, and the weights are its Q-values."""
    transition, reward, initial = reference.random_mdp(0, 3, 2)
    linear = linear_mdp.LinearMDP(
        features=jnp.eye(6).reshape(3, 2, 6),
        theta=jnp.broadcast_to(reward.reshape(6), (H, 6)),
        mu=jnp.broadcast_to(transition.reshape(6, 3), (H, 6, 3)),
        initial=jnp.asarray(initial),
    )
    linear_mdp.validate(linear)
    value, q = reference.backward_induction(transition, reward, 1.0, H)
    plan = planning.backward_induction_staged(linear_mdp.tabular(linear))
    np.testing.assert_allclose(plan.value, value, rtol=0, atol=float(plan.certificate.bound))
    found = linear_mdp.weights(linear, plan.value)
    np.testing.assert_allclose(found.reshape(H, 3, 2), q, rtol=0, atol=2 * float(plan.certificate.bound))


def test_random_instances_are_valid_differ_and_pay_between_0_and_1(double):
    batch = instances()
    linear_mdp.validate(batch)
    stages = jax.vmap(linear_mdp.tabular)(batch)
    mdp.validate(stages)
    assert jnp.all((stages.reward >= 0) & (stages.reward <= 1))
    for name in ("features", "theta", "mu"):
        field = getattr(batch, name)
        assert not jnp.array_equal(field[0], field[1])
    assert {x.dtype for x in batch} == {jnp.dtype(jnp.float64)}
    single = jax.eval_shape(lambda: family(jax.random.key(0), dtype=jnp.float32))
    assert {x.dtype for x in single} == {jnp.dtype(jnp.float32)}


def test_random_laws_have_the_moments_of_the_uniform_law_on_the_simplex(double):
    batch = instances()
    for name, size in (("features", D), ("mu", S)):
        entries = np.asarray(getattr(batch, name))[..., 0].ravel()
        variance = (size - 1) / size**2 / (size + 1)
        assert abs(entries.mean() - 1 / size) <= 5 * np.sqrt(variance / entries.size)
        spread = (entries - 1 / size) ** 2
        assert abs(spread.mean() - variance) <= 5 * spread.std() / np.sqrt(entries.size)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("features", jnp.ones((S, A, D)), r"features: 2 at index \(0, 0\); expected rows that sum to 1"),
        ("features", jnp.ones((S, D)), r"features: shape \(5, 2\); expected \[S, A, d\]"),
        ("features", jnp.ones((S, A, 0)), r"features: shape \(5, 3, 0\); expected \[S, A, d\], no axis empty"),
        ("theta", jnp.full((H, D), jnp.inf), "theta: inf; expected finite numbers"),
        ("theta", jnp.ones((0, D)), r"theta: shape \(0, 2\); expected \[H, d\], no axis empty"),
        ("theta", jnp.ones((H, 3)), r"theta: shape \(4, 3\); expected \(4, 2\)"),
        ("mu", jnp.ones((H, D, S)), r"mu: 5 at index \(0, 0\); expected rows that sum to 1"),
        ("mu", jnp.ones((H, S, D)), r"mu: shape \(4, 5, 2\); expected \(4, 2, 5\)"),
        ("initial", jnp.full(S, jnp.nan), r"initial: nan at index \(0,\); expected probabilities"),
    ],
)
def test_bad_fields_are_named(field, value, message):
    linear = jax.tree.map(lambda x: x[0], instances())
    with pytest.raises(ValueError, match=message):
        linear_mdp.validate(linear._replace(**{field: value}))

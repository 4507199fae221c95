"""Ambiguous POMDPs: the record, its check, its simulator and its families."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdm.envs import apomdp, families, pomdp
from jaxdm.envs.apomdp import APOMDP

MODELS = 3


around = jax.jit(families.apomdp.around, static_argnames="models")


tiger = jax.jit(families.pomdp.tiger)


clinicians = jax.jit(families.apomdp.clinicians, static_argnames=("models", "stages", "levels"))


def tigers(*accuracies: float, **options) -> APOMDP:
    """Tigers whose roar is heard with different accuracy."""
    members = jax.tree.map(lambda *x: jnp.stack(x), *[tiger(accuracy=accuracy) for accuracy in accuracies])
    return apomdp.make(members, **{"attitude": 0.5} | options)


def test_members_are_the_models():
    built = tigers(0.85, 0.6)
    for m, accuracy in enumerate((0.85, 0.6)):
        member = jax.tree.map(lambda x, m=m: x[m], apomdp.members(built))
        expected = tiger(accuracy=accuracy)
        for name, value in expected._asdict().items():
            np.testing.assert_array_equal(getattr(member, name), value, err_msg=name)
    batch = jax.tree.map(lambda x: jnp.stack([x, x]), built)
    apomdp.validate(batch)
    assert apomdp.members(batch).reward.shape == (2, 2, 2, 3)


def test_nature_draws_the_model_once_and_its_law_is_kept():
    """Frequencies of model, next state and observation against the kernels, within 5 standard errors."""
    built = around(jax.random.key(0), tiger(), models=MODELS, radius=0.6)
    built = built._replace(nature=jnp.array([0.2, 0.0, 0.8]))
    world, count = apomdp.env(2), 20_000

    @jax.jit
    @jax.vmap
    def episode(key: jax.Array) -> tuple:
        key_reset, key_steps = jax.random.split(key)
        _, start = world.reset(key_reset, built)
        keys = jax.random.split(key_steps)
        seen, state, reward, _, early, _ = world.step(keys[0], start, jnp.int32(0), built)
        _, last, _, _, late, _ = world.step(keys[1], state, jnp.int32(1), built)
        return start, state, last, seen, reward, early, late

    start, state, last, seen, reward, early, late = episode(jax.random.split(jax.random.key(1), count))
    assert (start.model == last.model).all()
    assert not early.any()
    assert late.all()
    np.testing.assert_array_equal(reward, built.reward[start.state, 0])
    law = (
        built.nature[:, None, None, None]
        * built.initial[:, :, None, None]
        * built.transition[:, :, 0, :, None]
        * built.observation[:, 0][:, None]
    )
    found = np.zeros(law.shape)
    np.add.at(found, tuple(np.asarray(x) for x in (start.model, start.state, state.state, seen)), 1 / count)
    assert (np.abs(found - law) <= 5 * np.sqrt(law * (1 - law) / count) + 1e-9).all()


def test_one_model_is_simulated_as_its_pomdp_is(monkeypatch):
    hidden = tiger()
    built, keys = tigers(0.85), jax.random.split(jax.random.key(0), 50)
    ours, theirs = apomdp.env(), pomdp.env()
    our_step, their_step = jax.jit(ours.step), jax.jit(theirs.step)
    with monkeypatch.context() as patch:  # the same numbers for the state and for what is seen of it
        patch.setattr(apomdp, "uniform", lambda *_: jnp.array([0.3, 0.1, 0.7]))
        patch.setattr(pomdp, "uniform", lambda *_: jnp.array([0.1, 0.7]))
        (first, state), (seen, other) = ours.reset(keys[0], built), theirs.reset(keys[0], hidden)
    assert first == seen
    for key, action in zip(keys, np.arange(50) % 3, strict=True):
        observation, state, reward, *_ = our_step(key, state, action, built)
        expected, other, paid, *_ = their_step(key, other, action, hidden)
        assert (observation, state.state, reward) == (expected, other.state, paid)


@pytest.mark.parametrize("radius", [0.0, 0.3, 1.0])
def test_models_lie_within_the_radius(radius):
    nominal = tiger()
    built = around(jax.random.key(2), nominal, models=MODELS, radius=radius)
    apomdp.validate(built)
    for name in ("transition", "observation"):
        law = getattr(built, name)
        np.testing.assert_array_equal(law[0], getattr(nominal, name))
        distance = np.abs(law - law[:1]).sum(-1) / 2
        assert distance.max() <= radius + 1e-6
        assert radius == 0 or distance[1:].max() > 0.1 * radius


def test_clinicians_disagree_about_chances_only():
    built = clinicians(jax.random.key(3), models=MODELS, disagreement=1.0, attitude=0.3)
    apomdp.validate(built)
    nominal = jax.jit(families.pomdp.treatment)()
    np.testing.assert_allclose(built.transition[0], nominal.transition, rtol=1e-6)
    np.testing.assert_allclose(built.reward, nominal.reward, atol=1e-6)
    np.testing.assert_array_equal(built.transition > 0, np.broadcast_to(nominal.transition > 0, built.transition.shape))
    assert np.abs(built.transition[1] - built.transition[0]).max() > 0.02
    agreed = clinicians(jax.random.key(3), models=MODELS, disagreement=0.0)
    np.testing.assert_allclose(
        agreed.observation, np.broadcast_to(agreed.observation[:1], agreed.observation.shape), rtol=1e-5
    )


def test_bad_input_is_refused():
    built = tigers(0.85, 0.6)
    members = apomdp.members(built)
    with pytest.raises(ValueError, match=r"^attitude: 1.5; expected a number in \[0, 1\]"):
        tigers(0.8, attitude=1.5)
    with pytest.raises(ValueError, match=r"^attitude: nan"):
        tigers(0.8, attitude=float("nan"))
    with pytest.raises(ValueError, match=r"^nature: .* expected rows that sum to 1"):
        tigers(0.8, 0.7, nature=[0.5, 0.6])
    with pytest.raises(ValueError, match=r"^nature: shape \(1,\); expected \[M\] with M = 2"):
        tigers(0.8, 0.7, nature=[1.0])
    with pytest.raises(ValueError, match=r"^reward: .* differs between models"):
        apomdp.make(members._replace(reward=members.reward.at[1].add(1)), 0.5)
    with pytest.raises(ValueError, match=r"^transition: shape \(2, 3, 2\); expected \[M, S, A, S\]"):
        apomdp.make(tiger(), 0.5)
    with pytest.raises(ValueError, match=r"^transition: 2 at index"):
        apomdp.validate(built._replace(transition=built.transition * 2))
    with pytest.raises(ValueError, match=r"^observation: shape"):
        apomdp.validate(built._replace(observation=built.observation[:, :2]))
    with pytest.raises(ValueError, match=r"^transition: shape \(0, 2, 3, 2\)"):
        apomdp.validate(built._replace(transition=built.transition[:0]))
    with pytest.raises(ValueError, match=r"^models: 0; expected an integer, at least 1"):
        families.apomdp.around(jax.random.key(0), tiger(), models=0, radius=0.1)
    with pytest.raises(ValueError, match=r"^radius: 1.2; expected a number in \[0, 1\]"):
        families.apomdp.around(jax.random.key(0), tiger(), models=2, radius=1.2)
    with pytest.raises(ValueError, match=r"^disagreement: -1; expected a finite number >= 0"):
        families.apomdp.clinicians(jax.random.key(0), models=2, disagreement=-1)

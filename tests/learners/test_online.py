"""Online worlds and learners: against slow twins, closed forms, and one another."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdm.envs import families, online
from jaxdm.envs.online import BALL, SIMPLEX
from jaxdm.learners import online as learners
from jaxdm.rollout import rollout
from tests.references import online as reference

REGIONS = {"ball": BALL, "simplex": SIMPLEX}


T, D, B = 40, 3, 6


def learner(name, kind, dimension=D):
    if name == "hedge":
        return learners.hedge(dimension)
    return getattr(learners, name)(REGIONS[kind], dimension)


AGENTS = {
    **{(name, kind): learner(name, kind) for kind in REGIONS for name in ("follow_leader", "ftrl", "perturbed_leader")},
    **{(name, kind): learner(name, kind) for kind in REGIONS for name in ("lazy_descent", "greedy_descent")},
    ("hedge", "simplex"): learner("hedge", "simplex"),
}


DETERMINISTIC = {name: agent for name, agent in AGENTS.items() if name[0] != "perturbed_leader"}


RESPONSES = (online.oblivious, online.orthogonal, online.against_ball, online.against_simplex)


@functools.cache
def player(name, kind):
    """Decisions on B sequences at B rates, one program for the whole module."""
    agent = AGENTS[name, kind]
    play = jax.jit(jax.vmap(lambda key, losses, params: online.play(key, losses, agent, params)))
    return lambda losses, params: np.asarray(play(jax.random.split(jax.random.key(1), B), losses, params))


def sequences(seed):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(B, T, D)))


def rates(radius=1.0):
    scale, power = np.meshgrid([0.05, 0.5, 3.0], [0.0, 0.5], indexing="ij")
    return learners.rate(scale.ravel(), power.ravel(), np.full(B, radius))


def label(value):
    return value.__name__ if callable(value) else "-".join(value) if isinstance(value, tuple) else str(value)


# Laws


@pytest.mark.parametrize("name", families.losses.LAWS)
def test_a_law_gives_finite_numbers_in_its_type_and_uses_its_key(name, double):
    def draw(seed, dtype):
        return families.losses.LAWS[name](jax.random.key(seed), length=T, dimension=D, dtype=dtype)

    assert jax.eval_shape(lambda: draw(0, jnp.float32)).dtype == jnp.float32
    drawn = [draw(seed, jnp.float64) for seed in range(5)]  # a random sign alone agrees five times with chance 1/16
    for losses in drawn:
        assert losses.shape == (T, D)
        assert losses.dtype == jnp.float64
        assert np.all(np.isfinite(losses))
    assert any(np.any(losses != drawn[0]) for losses in drawn)


@pytest.mark.parametrize("name", families.losses.LAWS)
def test_a_law_refuses_an_empty_sequence(name):
    with pytest.raises(ValueError, match="length: 0"):
        families.losses.LAWS[name](jax.random.key(0), length=0, dimension=D)
    with pytest.raises(ValueError, match="dimension: 0"):
        families.losses.LAWS[name](jax.random.key(0), length=T, dimension=0)


N = 4000


@pytest.mark.parametrize(
    ("draw", "mean", "variance"),
    [
        (lambda key: families.losses.uniform(key, length=N, dimension=2, low=-1, high=3), 1, 16 / 12),
        (lambda key: families.losses.gaussian(key, length=N, dimension=2, mean=2, deviation=0.5), 2, 0.25),
        (lambda key: families.losses.bernoulli(key, length=N, dimension=2, chance=0.3), 0.3, 0.21),
    ],
    ids=["uniform", "gaussian", "bernoulli"],
)
def test_an_independent_law_has_its_mean_and_variance(draw, mean, variance, double):
    sample = np.asarray(draw(jax.random.key(3))).ravel()
    assert abs(sample.mean() - mean) <= 5 * np.sqrt(variance / len(sample))
    squares = (sample - mean) ** 2
    assert abs(squares.mean() - variance) <= 5 * squares.std() / np.sqrt(len(sample))


def test_parameters_of_a_law_are_data():
    def draw(chance):
        return families.losses.bernoulli(jax.random.key(0), length=T, dimension=2, chance=chance)

    batch = jax.vmap(draw)(jnp.asarray([[0.0, 1.0], [1.0, 0.0]]))
    assert np.array_equal(np.asarray(batch).mean(axis=1), [[0, 1], [1, 0]])


def test_a_random_mean_is_shared_by_the_rounds_of_a_sequence(double):
    first, second = np.asarray(
        families.losses.random_mean(jax.random.key(1), length=2, dimension=N, spread=2.0, deviation=1.0)
    )
    products = first * second
    assert abs(products.mean() - 4.0) <= 5 * products.std() / np.sqrt(N)


def test_a_walk_spreads_linearly(double):
    walks = np.asarray(families.losses.random_walk(jax.random.key(2), length=30, dimension=N, step=0.5))
    for t in (0, 9, 29):
        squares = walks[t] ** 2
        assert abs(squares.mean() - 0.25 * (t + 1)) <= 5 * squares.std() / np.sqrt(N)


def test_noiseless_trends_are_lines_and_waves(double):
    line = np.asarray(families.losses.linear_trend(jax.random.key(0), length=T, dimension=D, deviation=0.0))
    assert np.abs(np.diff(line, n=2, axis=0)).max() <= 1e-14
    wave = np.asarray(families.losses.sine_trend(jax.random.key(0), length=T, dimension=D, period=8.0, deviation=0.0))
    assert np.abs(wave[8:] - wave[:-8]).max() <= 1e-13
    assert np.abs(wave[4:] + wave[:-4]).max() <= 1e-13


def test_a_periodic_sequence_repeats_and_its_period_is_data():
    def draw(period):
        return families.losses.periodic(jax.random.key(0), length=T, dimension=D, period=period)

    three, five = np.asarray(jax.vmap(draw)(jnp.asarray([3, 5])))
    assert np.array_equal(three[3:], three[:-3])
    assert np.array_equal(five[5:], five[:-5])
    assert len(np.unique(five[:, 0])) == 5


def test_the_sum_of_an_alternating_sequence_is_half_a_loss_for_ever():
    sums = np.cumsum(families.losses.alternating(jax.random.key(0), length=T, dimension=D), axis=0)
    assert np.array_equal(np.abs(sums), np.full((T, D), 0.5))
    assert np.array_equal(sums[1:], -sums[:-1])


@pytest.mark.parametrize("hazard", [0.0, 0.2, 1.0])
def test_switching_redraws_its_means_with_the_given_chance(hazard, double):
    means = families.losses.switching(jax.random.key(4), length=N, dimension=2, hazard=hazard, deviation=0.0)
    changes = np.any(np.diff(np.asarray(means), axis=0) != 0, axis=1)
    assert abs(changes.mean() - hazard) <= 5 * np.sqrt(hazard * (1 - hazard) / (N - 1))


def test_scaling_fills_its_range(double):
    raw = families.losses.gaussian(jax.random.key(0), length=T, dimension=D, mean=7.0)
    unit = np.asarray(families.losses.unit_interval(raw))
    assert unit.min() == 0
    assert unit.max() == 1
    norms = np.linalg.norm(np.asarray(families.losses.unit_ball(raw)), axis=1)
    assert abs(norms.max() - 1) <= 4e-16
    assert np.array_equal(families.losses.unit_interval(jnp.ones((2, 2))), np.zeros((2, 2)))
    assert np.array_equal(families.losses.unit_ball(jnp.zeros((2, 2))), np.zeros((2, 2)))


# Worlds


@functools.cache
def met(respond, kind):
    """An episode of FTRL against an adversary with the plan `sequences(0)[0]`."""
    return rollout(jax.random.key(1), online.env(respond), sequences(0)[0], AGENTS["ftrl", kind], learners.rate(0.3), T)


@pytest.mark.parametrize("respond", RESPONSES, ids=label)
def test_a_world_shows_its_losses_pays_their_product_and_ends(respond, double):
    episode = met(respond, "ball")
    assert np.array_equal(episode.observation[0], np.zeros(D))
    assert np.array_equal(episode.observation[1:], episode.next_observation[:-1])
    paid = -np.sum(np.asarray(episode.action * episode.next_observation), axis=1)
    assert np.allclose(episode.reward, paid, rtol=0, atol=1e-14)
    assert np.array_equal(np.flatnonzero(episode.truncated), [T - 1])
    assert not np.any(episode.terminated)


@pytest.mark.parametrize("respond", RESPONSES, ids=label)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64], ids=["single", "double"])
def test_worlds_and_learners_take_their_type_from_their_inputs(respond, dtype, double):
    plan = families.losses.gaussian(jax.random.key(0), length=4, dimension=D, dtype=dtype)
    for agent in AGENTS.values():
        params = learners.rate(0.3, 0.5, dtype=dtype)
        episode = jax.eval_shape(
            lambda key, agent=agent, params=params: rollout(key, online.env(respond), plan, agent, params, 4),
            jax.random.key(1),
        )
        assert episode.action.dtype == episode.reward.dtype == episode.next_observation.dtype == dtype


def orthogonal_episodes(dimension, plans, radius=1.0):
    agent, params = learners.ftrl(BALL, dimension), learners.ftrl_rate(radius, 64)

    def play(plan):
        return rollout(jax.random.key(6), online.env(online.orthogonal), plan, agent, params, 64)

    return jax.jit(jax.vmap(play))(jnp.asarray(plans))


@pytest.mark.parametrize("dimension", [2, 5])
def test_the_orthogonal_adversary_is_orthogonal_of_given_length_and_costs_ftrl_the_root_of_t(dimension, double):
    plans = np.random.default_rng(5).normal(size=(4, 64, dimension))
    plans[0], plans[1] = np.eye(dimension)[0], plans[1, :1]  # one direction for ever, whatever the sum already is
    plans /= np.linalg.norm(plans, axis=-1, keepdims=True)
    episodes = orthogonal_episodes(dimension, plans, radius=2.0)
    losses, actions = np.asarray(episodes.next_observation), np.asarray(episodes.action)
    before = np.cumsum(losses, axis=1) - losses
    eps = np.finfo(float).eps
    assert np.abs(np.sum(losses * before, axis=-1)).max() <= 10 * 64 * dimension * eps
    assert np.abs(np.linalg.norm(losses, axis=-1) - 1).max() <= 10 * eps
    regret = np.sum(losses * actions, axis=(1, 2)) + 2 * np.linalg.norm(losses.sum(axis=1), axis=-1)
    assert regret == pytest.approx(2 * np.sqrt(64), rel=1e-13)


def test_one_dimension_leaves_the_orthogonal_adversary_nothing(double):
    losses = np.asarray(orthogonal_episodes(1, np.ones((1, 64, 1))).next_observation)[0]
    assert abs(losses[0, 0]) == 1
    assert np.array_equal(losses[1:], np.zeros((63, 1)))


def test_reacting_adversaries_charge_what_the_learner_did(double):
    plan = np.asarray(sequences(0)[0])
    on_ball, on_simplex = met(online.against_ball, "ball"), met(online.against_simplex, "simplex")
    assert np.array_equal(on_ball.next_observation[0], plan[0])
    for t in range(1, T):
        action = np.asarray(on_ball.action[t])
        expected = np.linalg.norm(plan[t]) * action / np.linalg.norm(action)
        assert np.allclose(on_ball.next_observation[t], expected, rtol=0, atol=1e-14)
    expected = plan.max(axis=1, keepdims=True) * np.eye(D)[np.argmax(on_simplex.action, axis=1)]
    assert np.array_equal(on_simplex.next_observation, expected)


@pytest.mark.parametrize(
    "name", [("hedge", "simplex"), ("perturbed_leader", "ball"), ("greedy_descent", "ball")], ids=label
)
def test_direct_play_is_the_rollout(name, double):
    params, plan = rates(0.7), sequences(0)
    played = player(*name)(plan, params)
    key, own = jax.random.split(jax.random.key(1), B)[3], jax.tree.map(lambda x: x[3], params)
    episode = rollout(key, online.env(), plan[3], AGENTS[name], own, T)
    assert np.allclose(played[3], episode.action, rtol=0, atol=100 * np.finfo(float).eps)


# Learners


@pytest.mark.parametrize("name", DETERMINISTIC, ids=label)
def test_a_learner_plays_as_its_slow_twin(name, double):
    radius = 1.0 if name[1] == "simplex" else 0.8
    losses, params = sequences(1), rates(radius)
    played = player(*name)(losses, params)
    for i in range(B):
        scale, power = float(params.scale[i]), float(params.power[i])
        expected = reference.decisions(name[0], name[1], np.asarray(losses[i]), scale, power, radius)
        assert np.abs(played[i] - expected).max() <= 100 * T * np.finfo(float).eps


@pytest.mark.parametrize("name", AGENTS, ids=label)
def test_a_learner_stays_in_its_set_and_looks_only_back(name, double):
    losses, params = sequences(2), rates()
    played = player(*name)(losses, params)
    room = 10 * np.finfo(float).eps
    if name[1] == "ball":
        assert np.linalg.norm(played, axis=-1).max() <= 1 + room
    else:
        assert played.min() >= 0
        assert np.abs(played.sum(axis=-1) - 1).max() <= room
    replayed = player(*name)(losses.at[:, T // 2, 0].add(50.0), params)
    assert np.array_equal(replayed[:, : T // 2 + 1], played[:, : T // 2 + 1])
    assert np.any(replayed[:, T // 2 + 1 :] != played[:, T // 2 + 1 :])


@pytest.mark.parametrize("kind", REGIONS)
def test_lazy_descent_at_a_fixed_rate_is_ftrl(kind, double):
    losses, params = sequences(3), rates()._replace(power=jnp.zeros(B))
    ftrl, lazy = (player(name, kind)(losses, params) for name in ("ftrl", "lazy_descent"))
    assert np.allclose(ftrl, lazy, rtol=0, atol=100 * T * np.finfo(float).eps)


def test_hedge_and_ftrl_meet_their_rates_with_equality_where_it_is_known(double):
    fixed, anytime = learners.hedge_rate(4, 50), learners.hedge_rate(4)
    assert float(fixed.scale) == pytest.approx(np.sqrt(8 * np.log(4) / 50), rel=1e-15)
    assert (float(anytime.scale), float(anytime.power)) == (pytest.approx(2 * np.sqrt(np.log(4)), rel=1e-15), 0.5)
    assert float(learners.ftrl_rate(2.0, 100).scale) == pytest.approx(0.2, rel=1e-15)
    assert float(learners.ftrl_rate(2.0).scale) == pytest.approx(np.sqrt(2), rel=1e-15)


def test_the_mean_decision_of_the_gumbel_perturbed_leader_is_hedge(double):
    losses, samples = sequences(4), 4000
    agent = learners.perturbed_leader(SIMPLEX, D, jax.random.gumbel, samples)
    mean = np.asarray(online.play(jax.random.key(1), losses[3, :5], agent, jax.tree.map(lambda x: x[3], rates())))
    hedge = player("hedge", "simplex")(losses, rates())[3, :5]
    assert np.all(np.abs(mean - hedge) <= 5 * np.sqrt(hedge * (1 - hedge) / samples))


def test_a_perturbed_leader_takes_a_key():
    agent = AGENTS["perturbed_leader", "ball"]
    params = learners.rate(0.3)
    memory = agent.init(jax.random.key(0), params)
    action, _ = agent.act(jax.random.key(1), memory, jnp.zeros(D), params)
    noise = np.asarray(jax.random.normal(jax.random.key(1), (1, D)))[0]
    assert np.allclose(action, noise / np.linalg.norm(noise), rtol=0, atol=4 * np.finfo(np.float32).eps)


def test_play_is_differentiable_through_ftrl(double):
    losses = sequences(5)[0, :6, :2]
    agent, eta = learners.ftrl(BALL, 2), 0.1

    def cost(losses):
        return jnp.sum(losses * online.play(jax.random.key(0), losses, agent, learners.rate(eta, size=9.0)))

    total = losses.sum(axis=0)
    # Unprojected, sum <l_t, -eta S_{t-1}> = -eta/2 (|S_T|^2 - sum |l_t|^2).
    assert np.allclose(jax.grad(cost)(losses), -eta * (total[None] - losses), rtol=0, atol=1e-14)


# Bad input


@pytest.mark.parametrize("respond", [online.against_ball, online.orthogonal])
@pytest.mark.parametrize("point", [[0.0, 0.0], [0.3, -0.4]])
@pytest.mark.parametrize("loss", [[0.0, 0.0], [0.6, 0.8]])
def test_gradients_through_an_adversary_are_numbers_at_zero_too(respond, point, loss):
    total, decision = jnp.asarray(point), jnp.asarray(point)
    found = jax.jacrev(respond, argnums=(0, 1, 2))(jnp.asarray(loss), total, decision)
    assert all(bool(jnp.all(jnp.isfinite(part))) for part in found)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: learners.rate(0.0), "scale: 0; expected a positive"),
        (lambda: learners.rate(float("nan")), "scale: nan"),
        (lambda: learners.rate(1.0, size=-1.0), "size: -1;"),
        (lambda: learners.rate(1.0, 1.5), "power: 1.5"),
        (lambda: learners.hedge_rate(1), "arms: 1; expected an integer, at least 2"),
        (lambda: learners.ftrl_rate(1.0, 0), "length: 0"),
        (lambda: learners.hedge(0), "dimension: 0"),
        (lambda: learners.perturbed_leader(BALL, 2, samples=0), "samples: 0"),
        (lambda: online.checked(jnp.zeros(3)), r"losses: shape \(3,\); expected \[T, d\]"),
        (lambda: online.checked(jnp.zeros((0, 3))), r"losses: shape \(0, 3\)"),
        (lambda: online.checked(jnp.asarray([[0.0, jnp.inf]])), r"losses: inf at index \(0, 1\); expected finite"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()

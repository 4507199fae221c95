"""Bandit worlds and players: laws, loops in numpy, identities between players, and published regrets."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdm.envs import bandit, families
from jaxdm.learners import bandit as learners
from jaxdm.learners import exp3, thompson
from jaxdm.oracles.bandit import bayes_optimal, bayes_plan, pseudo_regret
from jaxdm.rollout import noise_entry, rollout
from jaxdm.types import Transition

EASY = np.arange(10) / 10 + 0.05


HARD = np.asarray([0.1, 0.05, 0.05, 0.05, 0.02, 0.02, 0.02, 0.01, 0.01, 0.01])


PLAYERS = {
    "ucb": (learners.ucb(4), learners.UCBParams()),
    "discounted": (learners.ucb(4), learners.UCBParams(exploration=2.4, discount=0.95)),
    "window": (learners.sliding_window_ucb(4, 32), learners.WindowParams(window=20)),
    "kl_ucb": (learners.kl_ucb(4), learners.KLUCBParams()),
    "greedy": (learners.epsilon_greedy(4), learners.EpsilonGreedyParams()),
    "elimination": (learners.successive_elimination(4), learners.EliminationParams(failure=0.5)),
    "exp3": (exp3.exp3(4), exp3.Exp3Params()),
    "exp3s": (exp3.exp3(4), exp3.Exp3Params(sharing=0.01)),
    "beta_thompson": (thompson.beta_thompson(4), thompson.BetaPrior()),
    "normal_thompson": (thompson.normal_thompson(4), thompson.NormalPrior()),
}


EVERYONE = PLAYERS | {"bayes": (bayes_optimal(4), bayes_plan(np.ones((4, 2)), 4))}


RANDOM = ("greedy", "exp3", "exp3s", "beta_thompson", "normal_thompson")


def floats(params):
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.result_type(float)), params)


def play(player, params, world, rounds, runs, env=None, seed=0):
    """Episodes with leading axes [runs, rounds]."""
    keys = jax.random.split(jax.random.key(seed), runs)

    def run(key):
        return rollout(key, env or bandit.bernoulli(), world, player, params, rounds)

    return jax.jit(jax.vmap(run))(keys)


def regrets(player, params, means, runs, rounds=1000, seed=0):
    world = bandit.make(means)
    keys = jax.random.split(jax.random.key(seed), runs)

    def run(key):
        return pseudo_regret(world, rollout(key, bandit.bernoulli(), world, player, params, rounds).action)[-1]

    return np.asarray(jax.jit(jax.vmap(run))(keys), np.float64)


# --- worlds ---


def test_rewards_have_the_stated_law():
    runs = 4000
    fixed = (learners.ucb(2), learners.UCBParams())
    world = bandit.make([0.3, 0.3])
    pay = np.asarray(play(*fixed, world, 3, runs).reward)
    assert set(np.unique(pay)) == {0, 1}
    assert abs(pay.mean() - 0.3) <= 5 * np.sqrt(0.21 / pay.size)
    world = bandit.make([2.0, 2.0], deviation=3.0)
    pay = np.asarray(play(*fixed, world, 3, runs, bandit.gaussian()).reward)
    assert abs(pay.mean() - 2) <= 5 * 3 / np.sqrt(pay.size)
    assert abs(pay.var() / 9 - 1) <= 5 * np.sqrt(2 / pay.size)


def test_a_step_takes_a_key():
    keys = jax.random.split(jax.random.key(0), 2000)
    for env, world in ((bandit.bernoulli(), bandit.make([0.3])), (bandit.gaussian(), bandit.make([0.3], 1.0))):
        state = env.reset(keys[0], world)[1]
        pay = jax.vmap(lambda key, env=env, state=state, world=world: env.step(key, state, jnp.int32(0), world)[2])(
            keys
        )
        assert abs(pay.mean() - 0.3) <= 5 * pay.std() / np.sqrt(2000)


def test_means_follow_their_rows_and_the_horizon_truncates():
    world = bandit.make([[0.0, 1.0], [1.0, 0.0]], horizon=3)
    fixed = (learners.epsilon_greedy(2), learners.EpsilonGreedyParams(floor=1.0))
    episode = jax.tree.map(lambda x: x[0], play(*fixed, world, 6, 1))
    late = np.arange(6) > 0
    np.testing.assert_array_equal(episode.reward, np.where(late, episode.action == 0, episode.action == 1))
    np.testing.assert_array_equal(episode.truncated, np.arange(6) >= 2)
    assert not episode.terminated.any()


@pytest.mark.parametrize("budget", [0.5, jnp.inf])
@pytest.mark.parametrize("family", ["switching", "wandering", "seasonal"])
def test_drifts_keep_their_budget(family, budget):
    rate = {"switching": {"chance": 0.1}, "wandering": {"step": 0.05}, "seasonal": {"period": 20.0}}[family]

    def make(key):
        return getattr(families.bandit, family)(key, arms=3, rounds=60, budget=budget, **rate)

    worlds = jax.jit(jax.vmap(make))(jax.random.split(jax.random.key(0), 20))
    mean = np.asarray(worlds.mean, np.float64)
    assert mean.shape == (20, 60, 3)
    assert mean.min() >= 0
    assert mean.max() <= 1
    by_hand = sum(np.abs(mean[:, t] - mean[:, t - 1]).max(axis=-1) for t in range(1, 60))
    np.testing.assert_allclose(jax.vmap(families.bandit.variation)(worlds), by_hand, rtol=1e-4)
    assert np.all(by_hand <= budget * (1 + 60 * np.finfo(np.float32).eps) + 60 * np.finfo(np.float32).eps)
    assert budget < 1 or np.all(by_hand > 0.5)


def test_stationary_families_are_as_described():
    keys = jax.random.split(jax.random.key(0), 3000)
    gap = jax.vmap(lambda key: families.bandit.one_gap(key, arms=5, gap=0.2))(keys).mean[:, 0]
    np.testing.assert_allclose(np.sort(gap, axis=-1), np.tile([0.4] * 4 + [0.6], (3000, 1)), rtol=1e-6)
    best = np.bincount(np.argmax(gap, axis=-1), minlength=5) / 3000
    assert np.all(np.abs(best - 0.2) <= 5 * np.sqrt(0.16 / 3000))
    even = jax.vmap(lambda key: families.bandit.uniform_means(key, arms=2))(keys).mean
    assert abs(even.mean() - 0.5) <= 5 * np.sqrt(1 / 12 / 6000)
    features = jax.random.normal(keys[0], (4, 3))
    means = np.asarray(
        jax.vmap(lambda key: families.bandit.linear(key, features=features, deviation=1.0))(keys).mean[:, 0]
    )
    assert np.linalg.matrix_rank(means, tol=1e-3) == 3
    expected = np.asarray(features @ features.T, np.float64) / 3
    spread = np.sqrt((np.outer(np.diag(expected), np.diag(expected)) + expected**2) / 3000)
    assert np.all(np.abs(means.T @ means / 3000 - expected) <= 5 * spread)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mean": [0.5, 1.5]}, r"mean: 1\.5 at index \(0, 1\); expected chances in \[0, 1\]"),
        ({"mean": [0.5, float("nan")]}, r"mean: nan at index \(1,\); expected finite"),
        ({"mean": []}, r"mean: shape \(0,\); expected \[K\] or \[M, K\], no axis empty"),
        ({"mean": [5.0, 6.0], "deviation": -1.0}, "deviation: .*; expected finite numbers >= 0"),
        ({"mean": [0.5, 0.5], "available": [True]}, r"available: shape \(1,\); expected \[K\] with K = 2"),
        ({"mean": [0.5, 0.5], "available": [False, False]}, "available: .*; expected at least one arm"),
        ({"mean": [0.5], "horizon": 0}, "horizon: 0; expected integers in 1"),
    ],
)
def test_bad_bandits_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        bandit.make(**arguments)


# --- what holds for all players ---


@pytest.mark.parametrize("name", PLAYERS)
def test_players_stay_among_available_arms_and_learn(name):
    player, params = PLAYERS[name]
    world = bandit.make([0.1, 0.9, 1.0, 1.0], available=[True, True, False, False])
    episodes = play(player, params, world, 400, 30)
    assert episodes.action.max() <= 1
    assert episodes.action.dtype == jnp.int32
    assert np.mean(episodes.action[:, 200:] == 1) > 0.6


def episodes_in(player, params, worlds, rounds, env=None):
    """One episode in each of a batch of worlds."""
    keys = jax.random.split(jax.random.key(0), worlds.horizon.shape[0])

    def run(key, world):
        return rollout(key, env or bandit.bernoulli(), world, player, params, rounds)

    return jax.jit(jax.vmap(run))(keys, worlds)


def random_worlds(count, rounds):
    """Worlds of 4 arms whose means jump, with a random non-empty set of available arms."""
    rng = np.random.default_rng(0)
    mean = np.repeat(rng.choice([0, 0.02, 0.5, 0.98, 1], (count, rounds // 20, 4)), 20, axis=1)
    available = rng.random((count, 4)) < 0.5
    available[np.arange(count), rng.integers(0, 4, count)] = True
    batch = {"deviation": np.zeros((count, 4)), "available": available, "horizon": np.full(count, bandit.ENDLESS)}
    return bandit.Bandit(mean=jnp.asarray(mean, jnp.float32), **jax.tree.map(jnp.asarray, batch))


@pytest.mark.parametrize("name", EVERYONE)
def test_nobody_ever_plays_an_arm_that_is_not_available(name):
    """In 60 worlds whose means jump, so that arms that were sure to be worse become best."""
    player, params = EVERYONE[name]
    worlds = random_worlds(60, 200)
    episodes = episodes_in(player, params, worlds, 200)
    allowed = np.take_along_axis(np.asarray(worlds.available), np.asarray(episodes.action), axis=1)
    assert allowed.all()
    assert not np.isnan(episodes.reward).any()


@pytest.mark.parametrize("name", EVERYONE)
def test_a_reward_that_is_no_number_is_seen_at_once(name):
    """The next actions are no arm, what they are paid is NaN, and so is the regret: not one arm for ever, quietly."""
    player, params = EVERYONE[name]
    mean = np.full((8, 4), 0.5)
    mean[3:] = np.nan
    world = bandit.Bandit(jnp.asarray(mean), jnp.zeros(4), jnp.ones(4, bool), jnp.int32(8))
    actions = np.asarray(play(player, params, world, 8, 1, bandit.gaussian()).action[0])
    if name == "bayes":  # which is for rewards of 0 and 1 alone
        assert np.all(actions[1:] == -1)
    else:
        assert np.all(actions[:4] >= 0)
        assert np.all(actions[4:] == -1)


@pytest.mark.parametrize("name", ["beta_thompson", "kl_ucb", "exp3", "exp3s"])
def test_rewards_outside_the_unit_interval_are_not_taken_for_shares_of_a_success(name):
    player, params = PLAYERS[name]
    actions = play(player, params, bandit.make([1.5] * 4, deviation=0.0), 3, 1, bandit.gaussian()).action[0]
    np.testing.assert_array_equal(actions[1:], [-1, -1])


def test_an_arm_that_is_not_available_pays_nothing_that_counts():
    world = bandit.make([0.5, 1.0], available=[True, False])
    state = bandit.bernoulli().reset(jax.random.key(0), world)[1]
    for action, nothing in ((0, False), (1, True), (2, True), (-1, True)):
        paid = bandit.bernoulli().step(jax.random.key(0), state, jnp.int32(action), world)[2]
        assert bool(jnp.isnan(paid)) == nothing
    with pytest.raises(ValueError, match=r"actions: 1 at index \(1,\); expected available arms"):
        pseudo_regret(world, jnp.asarray([0, 1]))
    regret = jax.jit(pseudo_regret)(world, jnp.asarray([0, 1, 0]))
    np.testing.assert_array_equal(np.isnan(regret), [False, True, True])


def test_the_best_available_arm():
    low = jnp.asarray([-jnp.inf, -jnp.inf, jnp.inf])
    assert bandit.best_available(low, jnp.asarray([False, True, False])) == 1
    assert bandit.best_available(low, jnp.asarray([True, True, True])) == 2
    with pytest.raises(ValueError, match=r"available: .*; expected at least one arm"):
        bandit.best_available(low, jnp.zeros(3, bool))
    with pytest.raises(ValueError, match=r"score: nan at index \(0,\); expected a number"):
        bandit.best_available(low.at[0].set(jnp.nan), jnp.ones(3, bool))
    choose = jax.jit(bandit.best_available)
    assert choose(low, jnp.zeros(3, bool)) == -1
    assert choose(low.at[1].set(jnp.nan), jnp.ones(3, bool)) == -1
    assert choose(low.at[1].set(jnp.nan), jnp.asarray([True, False, True])) == 2


@pytest.mark.parametrize("name", PLAYERS)
def test_players_follow_precision_and_use_their_key_as_stated(name, double):
    player, params = PLAYERS[name]
    memory, entry = player.init(jax.random.key(0), params), noise_entry(player.act, player.predrawn)
    kinds = {leaf.dtype for leaf in jax.tree.leaves(memory) if jnp.issubdtype(leaf.dtype, jnp.floating)}
    assert kinds == {jnp.dtype("float64")}
    world = bandit.make([0.5, 0.5, 0.5, 0.5])
    key_world, first, second = jax.random.split(jax.random.key(1), 3)
    rewards = jax.random.bernoulli(key_world, 0.5, (60, 4)).astype(float)

    def actions(key):
        def step(memory, draws):
            action, memory = entry.apply(draws[0], memory, world.available, params)
            flag = jnp.bool_(False)
            seen = {"observation": world.available, "next_observation": world.available}
            transition = Transition(**seen, action=action, reward=draws[1][action], terminated=flag, truncated=flag)
            return player.observe(memory, transition, params), action

        return jax.lax.scan(step, memory, (entry.draw(key, 60), rewards))[1]

    assert bool(jnp.any(actions(first) != actions(second))) == (name in RANDOM)


@pytest.mark.parametrize("name", PLAYERS)
def test_rates_are_data(name):
    player, params = PLAYERS[name]
    world = bandit.make([0.2, 0.4, 0.6, 0.8])
    key = jax.random.key(3)
    many = jax.tree.map(lambda x: jnp.asarray([x, x + 1.0]), floats(params))

    def run(params):
        return rollout(key, bandit.bernoulli(), world, player, params, 50).action

    first = jax.jit(jax.vmap(run))(many)[0]
    np.testing.assert_array_equal(first, jax.jit(run)(floats(params)))

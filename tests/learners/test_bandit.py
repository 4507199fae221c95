"""Each bandit player against a loop, an identity, its law, or published regrets."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from jaxdm.envs import bandit
from jaxdm.learners import bandit as learners
from jaxdm.learners import exp3, thompson
from jaxdm.rollout import noise_entry
from jaxdm.types import Transition
from tests.envs.test_bandit import EASY, HARD, play, regrets
from tests.references.bandit import exp3_weights, kl, ucb_run


def table_world(rewards):
    """The bandit that pays exactly `rewards[t, a]`."""
    return bandit.make(rewards, deviation=0.0)


@pytest.mark.parametrize(
    ("player", "params", "options"),
    [
        (learners.ucb(3), learners.UCBParams(), {"exploration": 2.0}),
        (learners.ucb(3), learners.UCBParams(exploration=2.4, discount=0.9), {"exploration": 2.4, "discount": 0.9}),
        (learners.sliding_window_ucb(3, 16), learners.WindowParams(window=9), {"exploration": 0.6, "window": 9}),
        (learners.sliding_window_ucb(3, 9), learners.WindowParams(window=9), {"exploration": 0.6, "window": 9}),
    ],
)
def test_ucb_plays_as_the_loop(player, params, options, double):
    rewards = np.random.default_rng(0).random((80, 3))
    ours = play(player, params, table_world(rewards), 80, 1, bandit.gaussian()).action[0]
    assert ours.tolist() == ucb_run(rewards, **options)


def test_forgetting_nothing_is_ucb():
    world = table_world(np.random.default_rng(1).integers(0, 2, (60, 4)).astype(float))

    def run(player, params):
        return play(player, params, world, 60, 1, bandit.gaussian()).action

    plain = run(learners.ucb(4), learners.UCBParams())
    np.testing.assert_array_equal(plain, run(learners.sliding_window_ucb(4, 60), learners.WindowParams(2.0, 60)))
    np.testing.assert_array_equal(plain, run(learners.ucb(4), learners.UCBParams(2.0, 1.0)))


def test_kl_upper_solves_its_equation(double):
    mean, level = np.meshgrid(np.linspace(0, 0.999, 30), np.geomspace(1e-5, 3, 30))
    ours = learners.kl_upper(jnp.asarray(mean), jnp.asarray(level))
    for p, bound, q in zip(mean.ravel(), level.ravel(), np.ravel(ours), strict=True):
        ends = (p + 1e-12, 1 - 1e-12)
        reached = kl(p, ends[1]) > bound
        root = scipy.optimize.brentq(lambda x, p=p, bound=bound: kl(p, x) - bound, *ends) if reached else 1.0
        assert abs(q - root) <= learners.NEWTON_ERROR
    assert learners.kl_upper(jnp.float64(1.0), jnp.float64(0.3)) == 1.0


def test_kl_ucb_explores_less_than_ucb():
    """By Pinsker its index is below `mean + sqrt(ln t / (2 n))`, UCB with exploration 1/2."""
    counts = learners.ArmStatistics(plays=jnp.asarray([3.0, 8.0, 40.0]), total=jnp.asarray([0.0, 5.0, 39.0]))
    level = jnp.log(51.0) / counts.plays
    assert jnp.all(learners.kl_upper(counts.total / counts.plays, level) <= learners.ucb_index(counts, 0.5))


def test_epsilon_greedy_explores_as_often_as_it_says():
    world = table_world([[1.0, 0.0, 0.0, 0.0]])
    params = learners.EpsilonGreedyParams(floor=0.1, scale=40.0)
    actions = np.asarray(play(learners.epsilon_greedy(4), params, world, 800, 500, bandit.gaussian()).action)
    for time in (100, 799):
        other = 0.75 * max(0.1, 40 / (time + 1))
        assert abs(np.mean(actions[:, time] != 0) - other) <= 5 * np.sqrt(other * (1 - other) / 500)
    tried = np.bincount(actions[:, 400:].ravel(), minlength=4)[1:] / actions[:, 400:].size
    assert np.all(np.abs(tried - 0.025) <= 5 * np.sqrt(0.025 / actions[:, 400:].size))


def test_elimination_drops_when_the_intervals_part(double):
    """With rewards 1 and 0 the arms part when `1 - r(n) > r(n)`, so at the first n with `r(n) < 1/2`."""
    world = table_world([[0.0, 1.0, 0.0]])
    actions = play(
        learners.successive_elimination(3), learners.EliminationParams(0.1), world, 150, 1, bandit.gaussian()
    ).action

    def radius(n):
        return np.sqrt(np.log(4 * 3 * n**2 / 0.1) / (2 * n))

    last = next(n for n in range(1, 100) if radius(n) < 0.5)
    assert [int(np.sum(actions == arm)) for arm in (0, 2)] == [last, last]
    assert np.all(actions[0, 3 * last :] == 1)


def test_elimination_keeps_an_arm_in_play_when_means_jump():
    """The best of 1,000 rounds pays nothing afterwards: its lower bound sinks, but some arm always stays."""
    mean = np.repeat([[0.0, 0.9, 0.5], [0.0, 0.0, 0.5]], [1000, 1], axis=0)
    world = bandit.make(mean, available=[False, True, True])
    player, params = learners.successive_elimination(3), learners.EliminationParams()
    actions = np.asarray(play(player, params, world, 6000, 2).action)
    assert np.all(actions > 0)


def test_discounted_ucb_tries_every_arm_however_fast_it_forgets():
    for discount in (1e-20, 1e-30, 0.5):
        params = learners.UCBParams(discount=discount)
        actions = play(learners.ucb(6), params, bandit.make([0.5] * 6), 12, 1).action[0]
        np.testing.assert_array_equal(actions[:6], np.arange(6))


def test_normal_thompson_without_noise_learns_a_mean_by_one_play():
    world = bandit.make([0.2, 0.9, 0.5], deviation=0.0)
    params = thompson.NormalPrior(deviation=2.0, noise=0.0)
    actions = np.asarray(play(thompson.normal_thompson(3), params, world, 60, 100, bandit.gaussian()).action)
    assert len(np.unique(actions)) == 3
    assert np.mean(actions[:, -1] == 1) > 0.9
    again = np.asarray(
        play(thompson.normal_thompson(3), params._replace(noise=1e-25), world, 60, 100, bandit.gaussian()).action
    )
    np.testing.assert_array_equal(actions, again)  # whose square float32 cannot hold


def test_elimination_keeps_the_best_arm_as_often_as_it_says():
    world = bandit.make([0.5, 0.6])
    player, params = learners.successive_elimination(2), learners.EliminationParams(failure=0.2)
    lost = np.asarray(play(player, params, world, 500, 400).action[:, -2:] == 0).all(axis=1)
    assert lost.mean() <= 0.2 + 5 * np.sqrt(0.16 / 400)


@pytest.mark.parametrize("sharing", [0.0, 0.05])
def test_exp_three_weights_are_the_papers(sharing, double):
    player, params = exp3.exp3(3), exp3.Exp3Params(exploration=0.3, sharing=sharing)
    act = noise_entry(player.act, player.predrawn).apply
    available = jnp.ones(3, bool)
    memory = player.init(jax.random.key(0), params)
    steps = []
    for draw, reward in np.random.default_rng(0).random((40, 2)):
        action, memory = act(jnp.asarray(draw), memory, available, params)
        assert abs(float(jnp.sum(memory.probabilities)) - 1) <= 1e-12
        expected = exp3_weights(steps, 3, 0.3, sharing)
        np.testing.assert_allclose(jax.nn.softmax(memory.log_weight), expected, rtol=1e-10)
        np.testing.assert_allclose(memory.probabilities, 0.7 * expected + 0.1, rtol=1e-10)
        flag = jnp.bool_(False)
        transition = Transition(available, action, jnp.asarray(reward), available, flag, flag)
        memory = player.observe(memory, transition, params)
        steps.append((int(action), reward))


def test_thompson_plays_an_arm_with_the_chance_that_it_is_best(double):
    key = jax.random.key(0)
    runs = 20_000
    beta = thompson.beta_thompson(3)
    memory = beta.init(key, thompson.BetaPrior())
    memory = memory._replace(shapes=memory.shapes.at[:6].set(jnp.asarray([2.0, 9.0, 1.0, 3.0, 11.0, 2.0])))
    choice = jax.vmap(lambda key: beta.act(key, memory, jnp.ones(3, bool), thompson.BetaPrior())[0])
    found = np.bincount(choice(jax.random.split(key, runs)), minlength=3) / runs
    rng = np.random.default_rng(0)
    exact = rng.beta([2.0, 9.0, 1.0], [3.0, 11.0, 2.0], (1_000_000, 3))
    expected = np.bincount(np.argmax(exact, axis=1), minlength=3) / 1_000_000
    assert np.all(np.abs(found - expected) <= 5 * np.sqrt(expected * (1 - expected) * (1 / runs + 1e-6)))

    normal, prior = thompson.normal_thompson(2), thompson.NormalPrior(mean=0.5, deviation=2.0, noise=3.0)
    counts = learners.ArmStatistics(plays=jnp.asarray([4.0, 1.0]), total=jnp.asarray([3.0, 2.0]))
    choice = jax.vmap(lambda key: normal.act(key, counts, jnp.ones(2, bool), prior)[0])
    weight = 0.25 + np.asarray([4.0, 1.0]) / 9
    centre = (0.125 + np.asarray([3.0, 2.0]) / 9) / weight
    second = scipy.stats.norm.cdf((centre[1] - centre[0]) / np.sqrt(np.sum(1 / weight)))
    found = np.mean(np.asarray(choice(jax.random.split(key, runs))))
    assert abs(found - second) <= 5 * np.sqrt(second * (1 - second) / runs)


def test_thompson_counts_what_it_saw():
    player, params = thompson.beta_thompson(3), thompson.BetaPrior(1.0, 2.0)
    memory = player.init(jax.random.key(0), params)
    np.testing.assert_array_equal(memory.shapes, [1, 1, 1, 2, 2, 2, 1, 1])
    available, flag = jnp.ones(3, bool), jnp.bool_(False)
    for action, reward in ((2, 1.0), (2, 0.0), (0, 0.0)):
        transition = Transition(available, jnp.int32(action), jnp.float32(reward), available, flag, flag)
        memory = player.observe(memory, transition, params)
    np.testing.assert_array_equal(memory.shapes, [1, 1, 2, 3, 2, 3, 1, 1])
    with pytest.raises(ValueError, match=r"failures: 0\.5; expected a finite number, at least 1"):
        player.init(jax.random.key(0), thompson.BetaPrior(1.0, 0.5))


@pytest.mark.parametrize(
    ("player", "params", "means", "published", "error"),
    [
        (learners.ucb(10), learners.UCBParams(), EASY, 143.17, 0.08),
        (learners.ucb(10), learners.UCBParams(), HARD, 61.50, 0.01),
        (thompson.beta_thompson(10), thompson.BetaPrior(), EASY, 24.12, 0.14),
        (thompson.beta_thompson(10), thompson.BetaPrior(), HARD, 40.8, 0.12),
    ],
    ids=["ucb-easy", "ucb-hard", "thompson-easy", "thompson-hard"],
)
def test_regret_is_that_of_independent_code(player, params, means, published, error):
    """Pseudo-regret after 1000 rounds; the published means and standard errors are of other people's numpy code."""
    ours = regrets(player, params, means, 1500)
    assert abs(ours.mean() - published) <= 3 * np.hypot(error, ours.std() / np.sqrt(1500))

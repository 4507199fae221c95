"""Regret-minimisation fine-tuning: selection and its fixed points, one compilation, resume, players and games."""

import dataclasses
import functools
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxdm import tokens, trainer
from jaxdm.envs import bandit, families, mdp
from jaxdm.learners import bandit as tallies
from jaxdm.learners import online as learners
from jaxdm.models import agents
from jaxdm.models.transformer import TransformerConfig, network
from jaxdm.oracles.bandit import pseudo_regret
from jaxdm.rmft import baselines, distillation, games, oracle_game
from jaxdm.rmft.distillation import Distillation
from jaxdm.rollout import rollout
from jaxdm.sft import data, tasks
from jaxdm.types import Network
from tests.references.distillation import lowest, mean_lowest_normal

ARMS, LENGTH = 3, 8


SHAPE = TransformerConfig(width=8, layers=1, heads=1, position="none", mlp_ratio=1)


SMALL = Distillation(rounds=4, scenarios=4, rollouts=6, keep=3, steps=2, batch=6, rate=0.01)


RANDOM_MEANS = functools.partial(families.losses.random_mean, spread=0.5)


UNKNOWN = cast(Any, "words")


def family(key):
    place = jax.random.permutation(key, ARMS)
    return bandit.make(jnp.where(place == 0, 0.8, 0.3), available=place < 2)


BANDIT = games.bandit_game(family, ARMS, LENGTH)


NET = network(SHAPE, BANDIT.features, BANDIT.outputs)


NET = NET._replace(init=jax.jit(NET.init))


SIMPLEX = games.online_game((RANDOM_MEANS, families.losses.uniform), ARMS, LENGTH)


REACTING = games.online_game((RANDOM_MEANS, families.losses.uniform), ARMS, LENGTH, adversary=True)


BALL = games.online_game((RANDOM_MEANS,), ARMS, LENGTH, "ball")


ONLINE_NET = network(dataclasses.replace(SHAPE, attention="linear"), SIMPLEX.features, SIMPLEX.outputs)


ONLINE_NET = ONLINE_NET._replace(init=jax.jit(ONLINE_NET.init))


def linear(features, outputs):
    """The smallest network: outputs are a product with the last token; it compiles fast."""

    def read(weights, tokens):
        return tokens @ weights["w"]

    return Network(
        init=lambda key: {"w": jax.random.normal(key, (features, outputs))},
        apply=read,
        prefill=lambda weights, tokens, capacity, length=None: (read(weights, tokens), ()),
        step=lambda weights, cache, token: (read(weights, token), cache),
    )


PLAIN, PLAIN_BANDIT = (linear(game.features, game.outputs) for game in (SIMPLEX, BANDIT))


SILENT = jnp.zeros(())


def kept(config, regret, reward):
    """Places of the M k rollouts that are imitated."""
    ranked = distillation.rank(distillation.hyperparameters(config), regret, reward)
    return np.asarray(ranked.rollout)[: regret.shape[0] * config.keep]


def start(maker, net, seeds=2):
    keys = jax.random.split(jax.random.key(0), seeds)
    return jax.jit(jax.vmap(maker.init))(keys, jax.vmap(net.init)(keys))


def same_bits(one, two):
    return jax.tree.all(jax.tree.map(lambda x, y: bool(jnp.all(x == y)), one, two))


@pytest.mark.parametrize("unit", ["scenario", "pool"])
def test_the_lowest_are_kept_and_ties_go_to_the_earlier(unit):
    rng = np.random.default_rng(0)
    for score in (rng.normal(size=(5, 7)), rng.integers(0, 3, (5, 7)).astype(float), np.zeros((5, 7))):
        found = kept(dataclasses.replace(SMALL, unit=unit), jnp.asarray(score, jnp.float32), jnp.zeros((5, 7)))
        assert len(found) == 15
        assert set(found.tolist()) == lowest(score, 3, unit)


def test_on_a_shared_sequence_regret_and_reward_select_the_same_rollouts_elsewhere_not():
    config = dataclasses.replace(SMALL, scenarios=64, exploration=1.0)
    chosen = {}
    for sequences in ("shared", "fresh"):
        switched = dataclasses.replace(config, sequences=sequences)
        weights = PLAIN.init(jax.random.key(0))
        play = functools.partial(
            distillation.collect, config=switched, game=SIMPLEX, network=PLAIN, params=weights, data=()
        )
        found = jax.jit(play)(jax.random.key(1), exploration=jnp.ones(()))
        for select in ("regret", "reward"):
            for unit in ("scenario", "pool"):
                ranked_by = dataclasses.replace(switched, select=select, unit=unit)
                chosen[sequences, select, unit] = kept(ranked_by, found.cumulative_regret[..., -1], found.reward)
    np.testing.assert_array_equal(chosen["shared", "regret", "scenario"], chosen["shared", "reward", "scenario"])
    for sequences, unit in (("shared", "pool"), ("fresh", "scenario"), ("fresh", "pool")):
        assert set(chosen[sequences, "regret", unit]) != set(chosen[sequences, "reward", unit])


def test_the_noise_of_kept_rollouts_predicts_the_next_loss():
    """`E[xi_t | kept] = z_{k,L} l_t / |l|_F`; the noise is too faint to leave the ball."""
    config, noise = dataclasses.replace(SMALL, scenarios=512, rollouts=16, keep=4), jnp.full((), 0.01)
    silent = jax.tree.map(jnp.zeros_like, PLAIN.init(jax.random.key(0)))
    found = jax.jit(lambda key: distillation.collect(key, config, noise, BALL, PLAIN, silent, ()))(jax.random.key(1))
    ranked = kept(config, found.cumulative_regret[..., -1], found.reward)
    index = ranked.reshape(4, 512).T.ravel()
    drawn = np.asarray(found.label, np.float64).reshape(-1, LENGTH, ARMS)[index] / float(noise)
    loss = np.asarray(found.tokens, np.float64).reshape(-1, LENGTH, BALL.features)[index]
    loss = (
        loss[:, 1:, ARMS : 2 * ARMS] / tokens.TOKEN_SCALE
    )  # a token holds the loss before it; no token holds the last loss
    along = np.sum(drawn[:, :-1] * loss, axis=(1, 2)).reshape(512, 4).mean(axis=1)
    # The total loss of a scenario over its rounds is needed for the scale: here regret gives it, as the centre costs 0.
    total = np.asarray(found.reward, np.float64).std(axis=1, ddof=1) / float(noise)
    norm = np.sqrt(np.sum(loss**2, axis=(1, 2))).reshape(512, 4)[:, 0]
    z, error = mean_lowest_normal(4, 16)
    predicted = z * norm**2 / total
    spread = (along - predicted).std() / np.sqrt(len(along))
    slack = 0.02 * abs(predicted.mean())  # 1 / E[1 / s] of a sample deviation s of 16 is within 2 % of its mean
    assert abs(along.mean() - predicted.mean()) <= 5 * (spread + error * norm.mean()) + slack


def test_playing_a_random_first_arm_for_ever_is_a_fixed_point():
    """Every placing of the best arm, L rollouts that together start with every arm often enough: imitating the kept
    gives back "any arm first, then the same", and its regret is linear."""
    arms, copies, keep, rounds_played = 4, 3, 3, 10
    means = jnp.stack([jnp.roll(jnp.array([0.9, 0.5, 0.3, 0.1]), shift) for shift in range(arms)])
    actions = jnp.broadcast_to(jnp.repeat(jnp.arange(arms), copies)[:, None], (arms * copies, rounds_played))

    def of_world(mean):
        return jax.vmap(lambda played: pseudo_regret(bandit.make(mean), played)[-1])(actions)

    regret = jax.jit(jax.vmap(of_world))(means)
    chosen = kept(dataclasses.replace(SMALL, keep=keep), regret, regret)
    played = np.asarray(jnp.tile(actions, (arms, 1))[chosen])
    first = np.bincount(played[:, 0], minlength=arms) / len(played)
    np.testing.assert_array_equal(first, np.full(arms, 1 / arms))
    np.testing.assert_array_equal(played, np.repeat(played[:, :1], rounds_played, axis=1))
    np.testing.assert_allclose(regret.mean(), rounds_played * (0.9 - 0.45), rtol=1e-6)


def test_a_run_is_compiled_once_and_resumes_to_the_same_bits(tmp_path):
    traces = []

    def counted(key):
        traces.append(1)
        return family(key)

    game = BANDIT._replace(instance=lambda key, data: counted(key))
    net = PLAIN_BANDIT
    maker = distillation.make_trainer(SMALL, game, net)
    whole = trainer.fit(maker, start(maker, net), (), 4, every=2)
    assert len(traces) == 1
    trainer.fit(maker, start(maker, net), (), 2, every=2, folder=tmp_path, identity=[SMALL])
    resumed = trainer.fit(maker, start(maker, net), (), 4, every=2, folder=tmp_path, identity=[SMALL])
    assert len(traces) == 2, "a step is traced once more, not compiled, for what a checkpoint says of the program"
    assert same_bits(whole.state, resumed.state)
    assert np.array_equal(whole.losses, resumed.losses)
    assert np.all(np.isfinite(whole.losses))


def test_every_kept_rollout_is_seen_before_any_is_seen_again():
    seen = jax.jit(functools.partial(distillation.batches, config=SMALL))
    for keep in (1, 2, 3):
        rank = np.asarray(seen(jax.random.key(keep), keep=keep)).ravel()
        count, times = SMALL.scenarios * keep, SMALL.steps * SMALL.batch
        assert sorted(rank[:count].tolist()) == sorted(range(count))[: min(count, times)]
        assert np.bincount(rank).max() == -(-times // count)
    assert not np.array_equal(seen(jax.random.key(0), keep=3), seen(jax.random.key(1), keep=3))


def test_runs_that_differ_in_switches_share_a_program_and_end_as_they_do_alone():
    switched: Any = {"keep": 6, "credit": "advantage", "select": "reward", "unit": "pool", "moments": "reset"}
    configs = [SMALL, dataclasses.replace(SMALL, exploration=1.0, rate=0.02, decay=0.1, **switched)]
    makers = [distillation.make_trainer(config, BANDIT, PLAIN_BANDIT) for config in configs]
    alone = [trainer.fit(maker, start(maker, PLAIN_BANDIT), (), 2, every=2) for maker in makers]

    def firsts(*leaves):
        return jnp.stack([leaf[0] for leaf in leaves])  # as many rows, so that nothing compiles anew

    states = jax.tree.map(firsts, *[start(maker, PLAIN_BANDIT) for maker in makers])
    together = trainer.fit(makers[0], states, (), 2, every=2)
    np.testing.assert_array_equal(together.losses, np.stack([fit.losses[0] for fit in alone]))
    assert same_bits(jax.tree.map(firsts, *[fit.state.params for fit in alone]), together.state.params)
    assert not same_bits(alone[0].state.params, alone[1].state.params)


def test_the_rate_falls_to_zero_along_a_cosine_and_weights_decay_with_it():
    """Where nothing is to be learnt, every step of round t multiplies the weights by `1 - rate_t decay`."""
    game = BANDIT._replace(cost=lambda outputs, played: 0 * jnp.sum(outputs, axis=-1))
    config = dataclasses.replace(SMALL, rate=0.1, decay=0.5)
    maker = distillation.make_trainer(config, game, PLAIN_BANDIT)
    begun = start(maker, PLAIN_BANDIT)
    end = trainer.fit(maker, begun, (), config.rounds, every=config.rounds).state
    rates = config.rate * (1 + np.cos(np.pi * np.arange(config.rounds) / config.rounds)) / 2
    shrunk = np.prod((1 - config.decay * rates) ** config.steps)
    np.testing.assert_allclose(end.params["w"], shrunk * begun.params["w"], rtol=1e-5)


@pytest.mark.parametrize("moments", ["keep", "reset"])
def test_the_optimiser_is_adamw_whose_rate_is_held_for_a_round(moments):
    """Weights after every round are those of clipped Adam with `x - rate_t (direction + decay x)`, up to rounding."""
    config = dataclasses.replace(SMALL, rate=0.05, decay=0.2, moments=moments)
    maker = distillation.make_trainer(config, BANDIT, PLAIN_BANDIT)
    adam = optax.chain(optax.clip_by_global_norm(1.0), optax.scale_by_adam())
    cost = jax.grad(distillation.imitation_cost(BANDIT, PLAIN_BANDIT))

    @jax.jit
    def one_round(key, params, inner, step):
        key_play, key_order = jax.random.split(jax.random.fold_in(key, step))
        rollouts = distillation.collect(key_play, config, SILENT, BANDIT, PLAIN_BANDIT, params, ())
        regret = rollouts.cumulative_regret[..., -1]
        ranked = distillation.rank(distillation.hyperparameters(config), regret, rollouts.reward)
        flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), rollouts)
        rate = config.rate * (0.5 + 0.5 * jnp.cos(jnp.pi * step / config.rounds))
        for ranks in distillation.batches(key_order, config, jnp.int32(config.keep)):
            gradient = cost(params, jax.tree.map(lambda x, r=ranks: x[ranked.rollout[r]], flat), ranked.weight[ranks])
            direction, inner = adam.update(gradient, inner)
            params = jax.tree.map(lambda x, d: x - rate * (d + config.decay * x), params, direction)
        return params, inner

    begun = start(maker, PLAIN_BANDIT, seeds=1)
    params = jax.tree.map(lambda x: x[0], begun.params)
    first = inner = adam.init(params)
    for step in range(config.rounds):
        params, inner = one_round(begun.key[0], params, first if moments == "reset" else inner, step)
    end = trainer.fit(maker, begun, (), config.rounds, every=config.rounds).state.params
    np.testing.assert_allclose(end["w"][0], params["w"], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("labels", ["output", "probabilities"])
def test_merged_rollouts_have_the_gradient_of_each(labels):
    """One step on all M k kept, and one on the M means of k, end at the same weights."""
    game = games.online_game((RANDOM_MEANS, families.losses.uniform), ARMS, LENGTH, labels=labels)
    each = dataclasses.replace(SMALL, exploration=1.0, steps=1, batch=SMALL.scenarios * SMALL.keep)
    ends = []
    for config in (each, dataclasses.replace(each, merge=True, batch=SMALL.scenarios)):
        maker = distillation.make_trainer(config, game, PLAIN)
        ends.append(trainer.fit(maker, start(maker, PLAIN), (), 3, every=3))
    np.testing.assert_array_equal(ends[0].losses[:, 0], ends[1].losses[:, 0])
    np.testing.assert_allclose(*(fit.state.params["w"] for fit in ends), rtol=1e-4, atol=1e-6)
    assert np.abs(ends[0].state.params["w"] - start(maker, PLAIN).params["w"]).max() > 0.01


def test_only_what_reads_the_same_is_merged():
    config = dataclasses.replace(SMALL, merge=True)
    with pytest.raises(ValueError, match=r"^merge: True; expected a game of full information"):
        distillation.make_trainer(config, REACTING, PLAIN)
    for change in ({"unit": "pool"}, {"sequences": "fresh"}, {"credit": "advantage"}):
        with pytest.raises(ValueError, match=r"^merge: True; expected the unit 'scenario'"):
            distillation.make_trainer(dataclasses.replace(config, **change), SIMPLEX, PLAIN)


def test_outputs_are_imitated_as_they_were_before_projection():
    weights, loud = PLAIN.init(jax.random.key(0)), jnp.full((), 2.0)
    game = games.online_game((RANDOM_MEANS,), ARMS, LENGTH, "ball", "output")
    found = jax.jit(lambda key: distillation.collect(key, SMALL, loud, game, PLAIN, weights, ()))(jax.random.key(1))
    loss = np.asarray(found.tokens[..., 1:, ARMS : 2 * ARMS], np.float64) / tokens.TOKEN_SCALE
    label = np.asarray(found.label, np.float64)[..., :-1, :]
    length = np.linalg.norm(label, axis=-1, keepdims=True)
    assert np.mean(length > 1) > 0.5
    paid = np.sum(loss * label / np.maximum(length, 1), axis=(-2, -1))
    regret = paid + np.linalg.norm(loss.sum(axis=-2), axis=-1)
    np.testing.assert_allclose(found.cumulative_regret[..., -2], regret, rtol=1e-5, atol=1e-5)


def test_rounds_teach_a_bandit_player_to_prefer_what_paid():
    config = dataclasses.replace(SMALL, rounds=40, scenarios=16, rollouts=8, keep=4, steps=4, batch=32)
    maker = distillation.make_trainer(config, BANDIT, NET)
    regret = trainer.fit(maker, start(maker, NET), (), config.rounds, every=config.rounds).losses
    assert np.all(regret[:, -5:].mean(axis=1) < 0.8 * regret[:, :5].mean(axis=1))


def test_onesof_a_rollout_are_what_the_player_read():
    """The policy that the cached player drew its arms from is the full network's on the rollout's tokens."""
    weights = NET.init(jax.random.key(1))
    game = games.bandit_game(family, ARMS, LENGTH, "probabilities")
    exploration = jnp.float32(0.7)

    @jax.jit
    def check(key):
        key_world, key_agent = jax.random.split(key)
        instance = family(key_world)
        agent = game.player(NET)
        params = game.deploy(weights, exploration, instance)
        played = game.play(key_world, instance, games.seeded(agent, key_agent), params)
        noise = agents.decision_noise(key_agent, LENGTH, ARMS)
        assert game.relabel is not None
        label = game.relabel(NET.apply(weights, played.tokens), noise, played, exploration)
        drawn = jax.vmap(lambda row, u: jnp.sum(jnp.cumsum(row) <= u * jnp.sum(row)))(label, noise.arm)
        return label, drawn, jnp.argmax(played.label, axis=-1), played.available

    label, drawn, action, available = jax.vmap(check)(jax.random.split(jax.random.key(2), 20))
    np.testing.assert_array_equal(drawn, action)
    assert np.all(label[~available] == 0)
    np.testing.assert_allclose(label.sum(axis=-1), 1, rtol=1e-6)


@pytest.mark.parametrize("game", [SIMPLEX, BALL], ids=["simplex", "ball"])
def test_online_decisions_are_the_full_networks(game):
    weights = ONLINE_NET.init(jax.random.key(1))

    @jax.jit
    def check(key):
        instance = game.instance(key, ())
        params = game.deploy(weights, jnp.zeros(()), instance)
        played = game.play(key, instance, game.player(ONLINE_NET), params)
        return ONLINE_NET.apply(weights, played.tokens), played.label

    outputs, label = check(jax.random.key(0))
    length = np.linalg.norm(outputs, axis=-1, keepdims=True)
    expected = (
        jax.nn.softmax(agents.INVERSE_TEMPERATURE * outputs) if game is SIMPLEX else outputs / np.maximum(length, 1)
    )
    np.testing.assert_allclose(label, expected, rtol=1e-5, atol=1e-6)


def test_unused_arms_are_never_played_and_never_best():
    game = games.online_game((families.losses.uniform,), ARMS, LENGTH, used=2, labels="sampled")
    instance = jax.jit(jax.vmap(lambda key: game.instance(key, ())))(jax.random.split(jax.random.key(0), 30))
    np.testing.assert_array_equal(instance.available.sum(axis=-1), np.full(30, 2))
    weights = PLAIN.init(jax.random.key(1))

    def one(key, instance):
        params = game.deploy(weights, jnp.zeros(()), instance)
        return game.play(key, instance, game.player(PLAIN), params)

    played = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(3), 30), instance)
    assert np.all(played.label[~played.available] == 0)
    assert np.all(played.best[~played.available] == 0)
    np.testing.assert_array_equal(played.label.sum(axis=-1), np.ones((30, LENGTH)))


def test_an_adversary_charges_the_preferred_arm_where_the_instance_reacts():
    weights = PLAIN.init(jax.random.key(1))

    @jax.jit
    def one(key, reacting):
        instance = REACTING.instance(key, ())._replace(reacting=reacting)
        played = REACTING.play(key, instance, REACTING.player(PLAIN), REACTING.deploy(weights, SILENT, instance))
        return played.tokens[1:, ARMS : 2 * ARMS] / tokens.TOKEN_SCALE, played.label[:-1]

    loss, decision = one(jax.random.key(0), True)
    np.testing.assert_array_equal(np.argmax(loss, axis=-1), np.argmax(decision, axis=-1))
    np.testing.assert_array_equal(np.sum(np.asarray(loss) != 0, axis=-1), np.ones(LENGTH - 1))
    assert np.all(np.sum(np.asarray(one(jax.random.key(0), False)[0]) != 0, axis=-1) == ARMS)


def test_a_rollout_holds_the_agents_decisions_and_the_oracles():
    def one(key):
        instance = family(key)
        return BANDIT.play(key, instance, tallies.ucb(ARMS), tallies.UCBParams()), rollout(
            key, bandit.bernoulli(), instance, tallies.ucb(ARMS), tallies.UCBParams(), LENGTH
        )

    played, episode = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), 10))
    np.testing.assert_array_equal(jnp.argmax(played.label, axis=-1), episode.action)
    right = np.sum(np.asarray(played.label) * np.asarray(played.best), axis=-1)
    np.testing.assert_allclose(played.cumulative_regret[:, -1], 0.5 * (1 - right).sum(axis=-1), rtol=1e-5, atol=1e-6)


def test_solved_worlds_are_played_after_demonstrations_and_learnt_on_own_decisions_alone():
    spaces = tokens.Spaces(observations=4, actions=4)
    setting = data.Setting(mdp.env(3), spaces, 3, lambda world, model: world, 0.0, 1.0)

    def solve(key, identity, about):
        return tasks.solve_mdp(families.mdp.dark_room(key, side=2), 3)

    pool = tasks.sample(jax.random.key(0), tasks.Family(draw=solve), (), 6)
    game = oracle_game.task_game(setting, 1)
    net = linear(game.features, game.outputs)
    config = dataclasses.replace(SMALL, scenarios=2)
    found = jax.jit(lambda key, pool: distillation.collect(key, config, SILENT, game, net, net.init(key), pool))(
        jax.random.key(1), pool
    )
    assert found.tokens.shape == (2, 6, 6, spaces.features)
    np.testing.assert_array_equal(found.mask.sum(axis=-1), np.full((2, 6), 3))
    lost = np.sum(np.asarray(found.label * found.best)[..., 3:, :] == 0, axis=(-2, -1))
    assert np.all(found.cumulative_regret[..., -1] >= -1e-6)
    assert np.all(np.isfinite(lost))


def test_reinforce_weighs_by_what_is_ahead_of_the_mean():
    config = dataclasses.replace(SMALL, keep=6, credit="advantage")
    regret = jnp.asarray(np.random.default_rng(0).normal(size=(4, 6)), jnp.float32)
    ranked = distillation.rank(distillation.hyperparameters(config), regret, -regret)
    ahead = np.asarray(regret.mean(axis=1, keepdims=True) - regret)
    expected = (ahead / np.sqrt(np.mean(ahead**2))).ravel()[np.asarray(ranked.rollout)]
    np.testing.assert_allclose(ranked.weight[:, 0], expected, rtol=1e-5, atol=1e-6)


def test_a_policy_gradient_by_hand():
    """From the definition, decision by decision: regret to go, its advantage, `-w log pi(a)`, and the entropy."""
    config = dataclasses.replace(SMALL, keep=6, credit="to go", entropy=0.3)
    weights, chosen = PLAIN_BANDIT.init(jax.random.key(0)), distillation.hyperparameters(config)
    found = distillation.collect(jax.random.key(1), config, SILENT, BANDIT, PLAIN_BANDIT, weights, ())
    regret = np.asarray(found.cumulative_regret, np.float64)
    to_go = np.stack([regret[..., -1] - (regret[..., t - 1] if t else 0) for t in range(LENGTH)], axis=-1)
    np.testing.assert_allclose(distillation.regret_to_go(found.cumulative_regret), to_go, atol=1e-5)
    ahead = to_go.mean(axis=1, keepdims=True) - to_go
    ranked = distillation.rank(chosen, found.cumulative_regret[..., -1], found.reward, jnp.asarray(to_go, jnp.float32))
    order = np.asarray(ranked.rollout)
    np.testing.assert_allclose(
        ranked.weight, (ahead / np.sqrt(np.mean(ahead**2))).reshape(-1, LENGTH)[order], atol=1e-4
    )
    flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[order], found)

    def by_hand(params):
        outputs = jnp.where(flat.available, flat.tokens @ params["w"], -jnp.inf)
        policy = jax.nn.softmax(outputs)
        entropy = -jnp.sum(jnp.where(policy > 0, policy * jnp.log(jnp.where(policy > 0, policy, 1)), 0), axis=-1)
        return -jnp.mean(ranked.weight * jnp.log(jnp.sum(policy * flat.label, axis=-1)) + 0.3 * entropy)

    expected = jax.grad(by_hand)(weights)["w"]
    plain = distillation.imitation_cost(BANDIT, PLAIN_BANDIT, 0.3)
    ratio = distillation.policy_cost(BANDIT, PLAIN_BANDIT, weights, chosen._replace(clip=jnp.float32(0.2)))
    for cost in (plain, ratio):  # at the weights of the rollouts themselves they agree
        np.testing.assert_allclose(jax.grad(cost)(weights, flat, ranked.weight)["w"], expected, atol=1e-5)


def test_a_clipped_ratio_has_no_gradient_once_it_is_past_its_range():
    """One decision between two arms: past `1 + c` a good one is pushed no further, and a bad one is pulled back."""
    before = {"w": jnp.zeros((BANDIT.features, ARMS))}
    ones, chosen = jnp.ones((1, 1, BANDIT.features)), distillation.hyperparameters(SMALL)
    played = games.Rollout(
        tokens=ones,
        label=jax.nn.one_hot(jnp.zeros((1, 1), int), ARMS),
        best=jnp.zeros((1, 1, ARMS)),
        available=jnp.ones((1, 1, ARMS), bool),
        mask=jnp.ones((1, 1), bool),
        cumulative_regret=jnp.zeros((1, 1)),
        reward=jnp.zeros(1),
    )
    cost = distillation.policy_cost(BANDIT, PLAIN_BANDIT, before, chosen._replace(clip=jnp.float32(0.2)))
    likelier = {"w": before["w"].at[:, 0].set(0.1)}
    for weight, moves in ((1.0, False), (-1.0, True)):
        slope = jax.grad(cost)(likelier, played, jnp.full((1, 1), weight))["w"]
        assert bool(jnp.any(slope != 0)) == moves


def test_squared_regret_is_what_the_regret_loss_descends():
    """With as many rollouts as one likes, weights by squared regret step along the gradient of `E max(regret, 0)^2`."""
    config = dataclasses.replace(SMALL, keep=6, credit="square")
    regret = jnp.asarray(np.random.default_rng(0).normal(size=(4, 6)), jnp.float32)
    ranked = distillation.rank(distillation.hyperparameters(config), regret, -regret)
    square = np.maximum(np.asarray(regret), 0) ** 2
    ahead = square.mean(axis=1, keepdims=True) - square
    expected = (ahead / np.sqrt(np.mean(ahead**2))).ravel()[np.asarray(ranked.rollout)]
    np.testing.assert_allclose(ranked.weight[:, 0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("arms", "rollouts", "keep"), [(2, 16, 10), (3, 16, 7), (5, 16, 5), (8, 16, 5), (2, 1, 1)])
def test_the_share_that_is_kept_lies_above_one_over_the_arms(arms, rollouts, keep):
    assert distillation.selection_size(arms, rollouts) == keep
    assert keep / rollouts > 1 / arms
    with pytest.raises(ValueError, match="arms: 1"):
        distillation.selection_size(1, 4)


def test_what_a_game_without_arms_cannot_have_is_refused():
    for change in ({"entropy": 0.1}, {"clip": 0.2}):
        with pytest.raises(ValueError, match=r"^entropy, clip: .*expected a game whose players draw an arm"):
            distillation.make_trainer(dataclasses.replace(SMALL, **change), SIMPLEX, PLAIN)


def test_regret_loss_goes_from_the_mean_to_the_maximum():
    regret = jnp.array([-1.0, 0.5, 2.0])
    assert float(baselines.regret_loss(regret)) == pytest.approx((0.25 + 4) / 3)
    assert float(baselines.regret_loss(regret, 100.0)) == pytest.approx(4)


def test_losses_of_baselines_have_gradients():
    own = baselines.imitation_loss(BANDIT, PLAIN_BANDIT, tallies.ucb(ARMS), lambda instance: tallies.UCBParams(), 3)
    best = baselines.imitation_loss(
        SIMPLEX, PLAIN, learners.hedge(ARMS), lambda instance: learners.hedge_rate(ARMS), 3, labels="optimal"
    )
    regret = baselines.regret_training_loss(SIMPLEX, PLAIN, 3, 1.0)
    for loss, net in ((own, PLAIN_BANDIT), (best, PLAIN), (regret, PLAIN)):
        gradient = jax.jit(jax.grad(loss))(net.init(jax.random.key(0)), jax.random.key(1), ())
        assert any(bool(jnp.any(leaf != 0)) for leaf in jax.tree.leaves(gradient))
        assert all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(gradient))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keep": 7}, "keep: 7; expected at most rollouts = 6"),
        ({"keep": 0}, "keep: 0; expected an integer, at least 1"),
        ({"rounds": 0}, "rounds: 0; expected an integer, at least 1"),
        ({"batch": 0}, "batch: 0; expected an integer, at least 1"),
        ({"exploration": -0.1}, "exploration: -0.1; expected a finite number"),
        ({"decay": float("nan")}, "decay: nan; expected a finite number"),
        ({"rate": 0.0}, "rate: 0.0; expected a positive finite number"),
        ({"unit": UNKNOWN}, "unit: 'words'; expected one of scenario, pool"),
        ({"moments": UNKNOWN}, "moments: 'words'; expected one of keep, reset"),
    ],
)
def test_bad_configurations_name_the_field(change, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        distillation.make_trainer(dataclasses.replace(SMALL, **change), BANDIT, NET)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: games.bandit_game(family, 0, 5), "arms: 0; expected an integer, at least 1"),
        (lambda: games.bandit_game(family, 2, 5, UNKNOWN), "labels: 'words'"),
        (lambda: games.bandit_game(family, 2, 5, "output"), "labels: 'output'; expected one of sampled, probabilities"),
        (lambda: games.bandit_game(family, 2, 5, rewards=UNKNOWN), "rewards: 'words'"),
        (lambda: games.online_game((families.losses.uniform,), 2, 5, UNKNOWN), "decisions: 'words'"),
        (
            lambda: games.online_game((families.losses.uniform,), 2, 5, "ball", "sampled"),
            "labels: 'sampled'; expected 'probabilities'",
        ),
        (
            lambda: games.online_game((families.losses.uniform,), 2, 5, used=3),
            "used: 3; expected an integer, at least 1, at most 2",
        ),
        (lambda: oracle_game.task_game(cast(Any, None), -1), "demonstrations: -1; expected an integer, at least 0"),
        (lambda: baselines.imitation_loss(BANDIT, NET, tallies.ucb(2), lambda instance: (), 0), "batch: 0"),
        (lambda: baselines.regret_training_loss(SIMPLEX, NET, 0), "batch: 0; expected an integer, at least 1"),
    ],
)
def test_bad_games_and_losses_name_the_field(call, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        call()


def test_scores_stop_where_the_episode_ends():
    """A rollout of 30 rounds in a world of 10 scores as one of 10 does: both have the same noise, round by round."""

    def run(length):
        game = games.bandit_game(lambda key: bandit.make([0.2, 0.8], horizon=10), 2, length)
        instance = game.instance(jax.random.key(0), ())
        player = tallies.epsilon_greedy(2)
        return game.play(jax.random.key(1), instance, player, tallies.EpsilonGreedyParams(floor=1.0))

    whole, short = run(30), run(10)
    assert whole.mask.sum() == 10
    np.testing.assert_array_equal(whole.cumulative_regret[:10], short.cumulative_regret)
    assert short.cumulative_regret[-1] > 0
    np.testing.assert_array_equal(whole.cumulative_regret[10:], np.repeat(short.cumulative_regret[-1], 20))
    assert whole.reward == short.reward

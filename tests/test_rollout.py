"""The rollout, tokens, and every agent through one contract."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdm import tokens
from jaxdm.envs import families, mdp
from jaxdm.learners import tabular
from jaxdm.models.agents import Player, bandit_player, deploy, network_agent, online_player
from jaxdm.models.transformer import TransformerConfig, network
from jaxdm.oracles import graph_policy
from jaxdm.rollout import epsilon_soft, markov_agent, noise_entry, rollout, rollouts
from jaxdm.sft import experts, tasks
from jaxdm.tokens import Spaces, bandit_features, online_features

STATES, ACTIONS, HORIZON = 5, 3, 6


SPACES = Spaces(observations=STATES, actions=ACTIONS)


WORLD = families.mdp.dirichlet(jax.random.key(0), states=STATES, actions=ACTIONS)


ENV = mdp.env(HORIZON)


TASK = tasks.solve_mdp(WORLD, HORIZON)


NET = network(TransformerConfig(width=8, layers=1, heads=1), SPACES.features, SPACES.outputs)


LAW = epsilon_soft(TASK.expert.policy, ACTIONS, 0.5)


@cache
def demonstrations(count: int):
    play = jax.jit(lambda key: rollouts(key, ENV, WORLD, markov_agent(HORIZON), LAW, HORIZON, count))
    return play(jax.random.key(7))


def agents() -> dict[str, tuple]:
    demos = demonstrations(2)
    weights = NET.init(jax.random.key(3))
    context = tokens.encode(demos, SPACES)
    return {
        "oracle": (markov_agent(HORIZON), epsilon_soft(TASK.expert.policy, ACTIONS)),
        "soft oracle": (markov_agent(HORIZON), LAW),
        "informed": (graph_policy.graph_agent(), experts.as_graph_policy(TASK, TASK.expert, 0.5)),
        "random": (tabular.random(SPACES), ()),
        "vote": (tabular.vote(SPACES), demos),
        "certainty equivalent": (tabular.certainty_equivalent(SPACES, HORIZON), demos),
        "greedy network": (network_agent(NET, SPACES, HORIZON), deploy(weights, context)),
        "sampling network": (network_agent(NET, SPACES, HORIZON), deploy(weights, context, 1.0)),
    }


AGENTS = agents()


DETERMINISTIC = {"oracle", "certainty equivalent", "greedy network"}


@cache
def player(name: str):
    """The jitted rollouts of an agent from a batch of keys, and a list that grows with every trace."""
    agent, params = AGENTS[name]
    traces = []

    def play(key):
        return traces.append(0) or rollout(key, ENV, WORLD, agent, params, HORIZON)

    return jax.jit(jax.vmap(play)), traces


@pytest.mark.parametrize("name", AGENTS)
def test_every_agent_meets_the_contract(name):
    play, traces = player(name)
    episodes = play(jax.random.split(jax.random.key(1), 64))
    again = play(jax.random.split(jax.random.key(1), 64))
    assert len(traces) == 1
    assert episodes.action.shape == (64, HORIZON)
    assert episodes.action.dtype == jnp.int32
    assert bool(jnp.all((episodes.action >= 0) & (episodes.action < ACTIONS)))
    assert bool(jnp.all(jnp.isfinite(episodes.reward)))
    assert bool(jnp.all(episodes.action == again.action))
    assert bool(jnp.all(episodes.mask))
    assert bool(jnp.all(episodes.truncated[:, -1]))


@pytest.mark.parametrize("name", AGENTS)
def test_an_agent_uses_its_noise_only_where_it_should(name):
    agent, params = AGENTS[name]
    memory = agent.init(jax.random.key(0), params)
    fast = noise_entry(agent.act, agent.predrawn)
    noise = jax.vmap(lambda key: jax.tree.map(lambda x: x[0], fast.draw(key, 1)))(
        jax.random.split(jax.random.key(5), 200)
    )
    chosen = jax.vmap(lambda one: fast.apply(one, memory, jnp.int32(1), params)[0])(noise)
    from_keys = jax.vmap(lambda key: agent.act(key, memory, jnp.int32(1), params)[0])(
        jax.random.split(jax.random.key(6), 200)
    )
    assert {*np.asarray(chosen).tolist()} == {*np.asarray(from_keys).tolist()}
    if name in DETERMINISTIC:
        assert len({*np.asarray(chosen).tolist()}) == 1
    if name in {"soft oracle", "random", "sampling network"}:
        assert len({*np.asarray(chosen).tolist()}) == ACTIONS


def test_agents_on_the_same_key_face_the_same_luck():
    keys = jax.random.split(jax.random.key(1), 64)
    starts = [np.asarray(player(name)[0](keys).observation[:, 0]) for name in AGENTS]
    assert len(set(starts[0].tolist())) > 1
    assert all(np.array_equal(start, starts[0]) for start in starts)


def test_deployment_equals_the_full_forward_pass_on_what_happened():
    _, params = AGENTS["greedy network"]
    episode = jax.tree.map(lambda x: x[0], player("greedy network")[0](jax.random.split(jax.random.key(1), 64)))
    spoken = tokens.encode(jax.tree.map(lambda x: x[None], episode), SPACES)
    outputs = NET.apply(params.weights, jnp.concatenate([params.context, spoken]))
    logits = outputs[params.context.shape[0] :, :ACTIONS]
    np.testing.assert_array_equal(jnp.argmax(logits, axis=-1), episode.action)


def test_the_soft_oracle_plays_its_law():
    keys = jax.random.split(jax.random.key(4), 20_000)
    episodes = player("soft oracle")[0](keys)
    best = np.asarray(TASK.expert.policy)[np.arange(HORIZON), np.asarray(episodes.observation)]
    chance = 0.5 + 0.5 / ACTIONS
    rate = np.mean(np.asarray(episodes.action) == best)
    assert abs(rate - chance) <= 5 * np.sqrt(chance * (1 - chance) / best.size)


def test_tokens_say_what_was_known_before_acting():
    demos = demonstrations(2)
    rows = np.asarray(tokens.encode(demos, SPACES)).reshape(2, HORIZON, SPACES.features)
    borders = [STATES, 2 * STATES, 2 * STATES + ACTIONS, -1]
    observation, last_observation, last_action, reward, start = np.split(rows, borders, axis=-1)
    np.testing.assert_array_equal(observation.argmax(-1), demos.observation)
    assert np.all(rows[:, 0, STATES:-1] == 0)
    np.testing.assert_array_equal(last_observation[:, 1:].argmax(-1), demos.observation[:, :-1])
    np.testing.assert_array_equal(last_action[:, 1:].argmax(-1), demos.action[:, :-1])
    np.testing.assert_array_equal(reward[:, 1:, 0], demos.reward[:, :-1])
    np.testing.assert_array_equal(start[..., 0], [[1] + [0] * (HORIZON - 1)] * 2)


def test_fewer_demonstrations_are_a_prefix_of_more():
    two, four = demonstrations(2), demonstrations(4)
    assert jax.tree.all(jax.tree.map(lambda x, y: bool(jnp.all(x == y[:2])), two, four))
    assert demonstrations(0).reward.shape == (0, HORIZON)


def test_a_network_looks_at_as_many_demonstrations_as_it_is_told():
    weights, agent = NET.init(jax.random.key(3)), network_agent(NET, SPACES, HORIZON)
    traces = []
    play = jax.jit(lambda params: traces.append(0) or rollout(jax.random.key(0), ENV, WORLD, agent, params, HORIZON))
    two = tokens.encode(demonstrations(2), SPACES)
    params = [deploy(weights, two, 1.0, length=count * HORIZON) for count in (0, 1, 2)]
    shown = [deploy(weights, tokens.encode(demonstrations(count), SPACES), 1.0) for count in (0, 1, 2)]
    actions = [[play(one).action.tolist() for one in params], [play(one).action.tolist() for one in shown]]
    assert actions[0] == actions[1]
    assert len(set(map(tuple, actions[0]))) > 1
    assert len(traces) == 3


def test_a_network_needs_no_demonstrations_but_a_vote_does():
    none = demonstrations(0)
    agent = network_agent(NET, SPACES, HORIZON)
    params = deploy(NET.init(jax.random.key(3)), tokens.encode(none, SPACES))
    assert rollout(jax.random.key(0), ENV, WORLD, agent, params, HORIZON).action.shape == (HORIZON,)
    for needy in (tabular.vote(SPACES), tabular.certainty_equivalent(SPACES, HORIZON)):
        with pytest.raises(ValueError, match=r"^demonstrations: none; expected at least one"):
            rollout(jax.random.key(0), ENV, WORLD, needy, none, HORIZON)


def test_the_vote_counts():
    demos = demonstrations(4)
    law = np.asarray(tabular.vote_probabilities(demos, SPACES))
    observed, acted = np.asarray(demos.observation).ravel(), np.asarray(demos.action).ravel()
    for s in range(STATES):
        counts = np.bincount(acted[observed == s], minlength=ACTIONS)
        best = counts == counts.max()
        np.testing.assert_allclose(law[s], best / best.sum(), rtol=1e-6)


def test_the_counted_model_approaches_the_truth():
    uniform = jnp.full((STATES, ACTIONS), 1 / ACTIONS)
    many = jax.jit(lambda key: rollouts(key, ENV, WORLD, markov_agent(), uniform, HORIZON, 5000))(jax.random.key(8))
    counted = tabular.counted_mdp(many, SPACES)
    mdp.validate(counted)
    visits = 5000 * HORIZON / STATES / ACTIONS / 4  # a quarter of the average, to be safe
    assert float(jnp.abs(counted.transition - WORLD.transition).max()) <= 5 * np.sqrt(0.25 / visits)
    np.testing.assert_allclose(counted.reward, WORLD.reward, atol=1e-3)


def test_an_episode_needs_a_step():
    with pytest.raises(ValueError, match=r"^length: 0; expected .*at least 1"):
        rollout(jax.random.key(0), ENV, WORLD, tabular.random(SPACES), (), 0)


def test_nobody_takes_an_action_that_is_not_available():
    """Every player of MDPs, where a forbidden action is seen as a reward of -inf."""
    shut = jnp.arange(6)[:, None] % 2 == jnp.arange(3)[None] - 1
    drawn = families.mdp.dirichlet(jax.random.key(3), states=6, actions=3)
    world = mdp.make(drawn.transition, drawn.reward, available=~shut)
    spaces, steps = Spaces(observations=6, actions=3), 40
    task = jax.jit(tasks.solve_mdp, static_argnums=1)(world, 5)
    shown = rollouts(jax.random.key(0), mdp.env(), world, markov_agent(), mdp.uniform_play(world), 20, 3)
    open_ = mdp.available(world)
    players = {
        "uniform policy": (markov_agent(), mdp.uniform_play(world)),
        "random": (tabular.random(spaces, open_), ()),
        "vote": (tabular.vote(spaces, open_), tabular.first(shown, jnp.int32(0))),
        "plan": (tabular.certainty_equivalent(spaces, 5, available=open_), shown),
        "soft oracle": (graph_policy.graph_agent(), experts.as_graph_policy(task, task.expert, 0.9)),
        "adversary": (graph_policy.graph_agent(), experts.as_graph_policy(task, experts.adversarial(task))),
    }
    for name, (player, params) in players.items():
        played = rollout(jax.random.key(1), mdp.env(), world, player, params, steps)
        assert jnp.all(jnp.isfinite(played.reward)), name
    label = tasks.label_probabilities(experts.soft_oracle(0.5)(task))
    assert jnp.all((label > 0) == open_[None])
    assert jnp.isfinite(task.random_value[0])


def players(length: int) -> dict[str, tuple]:
    """Every agent with a cache of a given number of decisions, and an observation of its world."""
    arms = 3
    seeing = network(TransformerConfig(width=8, layers=1, heads=1), bandit_features(arms), arms)
    told = network(TransformerConfig(width=8, layers=1, heads=1), online_features(arms), arms)
    available = jnp.ones(arms, bool)

    def params(net):
        return Player(weights=net.init(jax.random.key(0)), exploration=jnp.float32(0), available=available)

    context = tokens.encode(demonstrations(2), SPACES)
    weights = NET.init(jax.random.key(3))
    return {
        "greedy network": (network_agent(NET, SPACES, length), deploy(weights, context), jnp.int32(1)),
        "sampling network": (network_agent(NET, SPACES, length), deploy(weights, context, 1.0), jnp.int32(1)),
        "bandit player": (bandit_player(seeing, arms, length), params(seeing), available),
        "online player": (online_player(told, arms, length), params(told), jnp.zeros(arms)),
        "online player of arms": (online_player(told, arms, length, labels="sampled"), params(told), jnp.zeros(arms)),
        "online player on the ball": (online_player(told, arms, length, "ball"), params(told), jnp.zeros(arms)),
    }


def test_decisions_without_room_are_refused_or_seen():
    """A rollout knows its number of decisions; by hand, under jit, what lies beyond is -1 or NaN."""
    for name, (agent, params, observation) in players(4).items():
        with pytest.raises(ValueError, match=r"^length: 5 decisions; expected at most 4"):
            noise_entry(agent.act, agent.predrawn).draw(jax.random.key(0), 5)

        @jax.jit
        def play(key, agent=agent, params=params, observation=observation):
            def step(memory, key):
                action, memory = agent.act(key, memory, observation, params)
                return memory, action

            return jax.lax.scan(step, agent.init(key, params), jax.random.split(key, 7))[1]

        actions = play(jax.random.key(1))
        within, beyond = np.asarray(actions[:4]), np.asarray(actions[4:])
        assert np.all(np.isfinite(within) & (within >= (0 if actions.ndim == 1 else -1))), name
        assert np.all(beyond == -1) if actions.ndim == 1 else np.all(np.isnan(beyond)), name
    agent, params, _ = players(4)["greedy network"]
    with pytest.raises(ValueError, match=r"^length: 6 decisions; expected at most 4"):
        rollout(jax.random.key(0), ENV, WORLD, agent, params, HORIZON)
    with pytest.raises(ValueError, match=r"^length: 0; expected .*at least 1"):
        network_agent(NET, SPACES, 0)
    with pytest.raises(ValueError, match=r"^length: 13; expected between 0 and the 12 tokens"):
        deploy(params.weights, params.context, length=13)

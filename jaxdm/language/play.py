"""Verbal play: text in, text out, in the worlds of `jaxdm.envs` and with their regret.

Any function from prompts to replies is a player: a decoder, a file of replies, a rule that talks. A reply that decides
nothing costs a uniformly random decision, and is counted.

Dimensions: `M` scenarios, `R` rollouts of each, `B = M R`, `T` rounds, `K` arms.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxdm.envs import bandit, online
from jaxdm.language import verbal
from jaxdm.language.sampling import Sampler
from jaxdm.language.tokenizer import Messages, Tokenizer, pad_left
from jaxdm.language.verbal import Parsed, Scenario
from jaxdm.oracles.bandit import pseudo_regret
from jaxdm.oracles.regret import external
from jaxdm.types import Env, Tree
from jaxdm.validation import InvalidInput, positive_integer


class Reply(NamedTuple):
    """What a player says."""

    text: str
    finished: bool = True  # False where a limit cut it off
    tokens: tuple[int, ...] | None = None  # as they were drawn, the end included, where that is known


Speaker = Callable[[jax.Array, Sequence[Messages]], list[Reply]]
"""`(keys [B], prompts) -> replies`, one each."""


Parser = Callable[[Scenario, str, bool], Parsed]


class VerbalGame(NamedTuple):
    """A world whose arms have names.

    Fields:
        env: the world.
        action: `arm [] -> ` what the world takes.
        seen: `(arm [], observation, reward []) -> [K]`, what a round tells of each arm, NaN where nothing.
        regret: `(instance, arms [T], seen [T, K]) -> [T]`, cumulative.
    """

    env: Env
    action: Callable[[jax.Array], jax.Array]
    seen: Callable[[jax.Array, jax.Array, jax.Array], jax.Array]
    regret: Callable[[Tree, jax.Array, jax.Array], jax.Array]


class VerbalEpisodes(NamedTuple):
    """All that was said and done."""

    action: np.ndarray  # [M, R, T] arms
    seen: np.ndarray  # [M, R, T, K] rewards or losses, NaN where nothing was seen
    regret: np.ndarray  # [M, R, T] cumulative
    fault: np.ndarray  # [M, R, T] text, empty where the reply decided
    prompts: list[list[Messages]]  # [T][B]
    replies: list[list[Reply]]  # [T][B]


@functools.lru_cache  # games are told apart by their functions, and each is compiled once
def bandit_game(arms: int) -> VerbalGame:
    """Bernoulli bandits with K arms, stationary or drifting; regret is `jaxdm.oracles.bandit.pseudo_regret`."""
    arms = positive_integer("arms", arms)

    def seen(arm: jax.Array, observation: jax.Array, reward: jax.Array) -> jax.Array:
        return jnp.where(jnp.arange(arms) == arm, reward, jnp.nan)

    def regret(instance: bandit.Bandit, chosen: jax.Array, seen_TK: jax.Array) -> jax.Array:
        return pseudo_regret(instance, chosen)

    return VerbalGame(env=bandit.bernoulli(), action=jnp.asarray, seen=seen, regret=regret)


@functools.lru_cache
def online_game(arms: int) -> VerbalGame:
    """Online learning with full information on K arms; an instance is its losses [T, K], in [0, 1].

    Regret is `jaxdm.oracles.regret.external`, against the best fixed arm so far.
    """
    arms = positive_integer("arms", arms)

    def action(arm: jax.Array) -> jax.Array:
        return jax.nn.one_hot(arm, arms)

    def regret(instance: jax.Array, chosen: jax.Array, seen_TK: jax.Array) -> jax.Array:
        return external(online.SIMPLEX, seen_TK, jax.nn.one_hot(chosen, arms))

    return VerbalGame(env=online.env(), action=action, seen=lambda arm, observation, reward: observation, regret=regret)


def play(
    key: jax.Array,
    game: VerbalGame,
    instances: Tree,
    scenarios: Sequence[Scenario],
    speaker: Speaker,
    rollouts: int,
    parse: Parser = verbal.parse_leniently,
) -> VerbalEpisodes:
    """R rollouts of every scenario, all at once, one round after the other.

    Args:
        key: of worlds, replies, and decisions in the place of those that could not be read.
        game: what is played.
        instances: leading axis [M].
        scenarios: [M] how they are told, all with T rounds.
        speaker: who plays.
        rollouts: R.
        parse: how replies are read.

    Raises:
        ValueError: no scenario, scenarios of unequal length, or a speaker that does not answer every prompt.
    """
    lengths = {scenario.rounds for scenario in scenarios}
    if len(lengths) != 1:
        raise InvalidInput(f"scenarios: of {sorted(lengths)} rounds; expected some, all of the same number")
    (rounds,), batch = lengths, len(scenarios) * positive_integer("rollouts", rollouts)
    told = [scenario for scenario in scenarios for _ in range(rollouts)]
    repeated = jax.tree.map(lambda leaf: jnp.repeat(leaf, rollouts, axis=0), instances)
    key_reset, key_step, key_speak, key_random = jax.random.split(key, 4)
    begin, advance, regret = _compiled(game)
    _, state = begin(jax.random.split(key_reset, batch), repeated)
    chosen: list[list[int]] = [[] for _ in range(batch)]
    arms = len(told[0].names)
    seen = np.full((batch, rounds, arms), np.nan)
    faults = np.full((batch, rounds), "", dtype=object)
    prompts, replies = [], []
    for time in range(rounds):
        asked = [verbal.prompt(*given) for given in zip(told, chosen, seen[:, :time], strict=True)]
        keys = jax.random.split(jax.random.fold_in(key_speak, time), batch)
        said = speaker(keys, asked)
        if len(said) != batch:
            raise InvalidInput(f"speaker: {len(said)} replies; expected one for each of {batch} prompts")
        parsed = [parse(scenario, reply.text, reply.finished) for scenario, reply in zip(told, said, strict=True)]
        anyhow = np.asarray(jax.random.randint(jax.random.fold_in(key_random, time), (batch,), 0, arms))
        arm = np.array([one.arm if one.arm is not None else anyhow[row] for row, one in enumerate(parsed)], np.int32)
        step_keys = jax.random.split(jax.random.fold_in(key_step, time), batch)
        state, told_now = advance(step_keys, state, jnp.asarray(arm), repeated)
        seen[:, time] = told_now
        faults[:, time] = [one.fault for one in parsed]
        for row, one in enumerate(arm):
            chosen[row].append(int(one))
        prompts.append(asked)
        replies.append(said)
    action = np.array(chosen)
    cumulative = regret(repeated, jnp.asarray(action), jnp.asarray(seen, jnp.float32))

    def by_scenario(array: Any) -> np.ndarray:
        return np.asarray(array).reshape(len(scenarios), rollouts, *np.shape(array)[1:])

    return VerbalEpisodes(
        action=by_scenario(action),
        seen=by_scenario(seen),
        regret=by_scenario(cumulative),
        fault=by_scenario(faults),
        prompts=prompts,
        replies=replies,
    )


@functools.lru_cache
def _compiled(game: VerbalGame) -> tuple:
    """`reset` and `step` of a batch; a step returns the state and what was seen. A study plays one game many times."""

    def step(key: jax.Array, state: Tree, arm: jax.Array, instance: Tree) -> tuple:
        observation, state, reward, *_ = game.env.step(key, state, game.action(arm), instance)
        return state, game.seen(arm, observation, reward)

    return jax.jit(jax.vmap(game.env.reset)), jax.jit(jax.vmap(step)), jax.jit(jax.vmap(game.regret))


def decoder_speaker(
    sampler: Sampler,
    tokenizer: Tokenizer,
    params: Tree,
    *,
    temperature: float = 1.0,
    rollouts: int = 1,
    batch: int = 64,
    multiple: int = 32,
) -> Speaker:
    """A decoder as a player.

    Args:
        sampler: of `jaxdm.language.make_sampler`.
        tokenizer: of the decoder.
        params: its weights.
        temperature: of every token.
        rollouts: how many prompts, one after the other, may be the same: where they are, it is read once for all.
        batch: prompts of one call; the last call is filled up, so that one program is compiled.
        multiple: lengths of prompts are rounded up to multiples of it, for the same reason.

    Raises:
        ValueError: sizes below one, or a batch that is no multiple of the rollouts.
    """
    for name, value in {"rollouts": rollouts, "batch": batch, "multiple": multiple}.items():
        positive_integer(name, value)
    if batch % rollouts:
        raise InvalidInput(f"batch: {batch}; expected a multiple of rollouts = {rollouts}")

    def one_call(keys: jax.Array, rows: list[list[int]]) -> list[Reply]:
        filled = [*rows, *[rows[0]] * (batch - len(rows))]
        same = all(row == filled[place // rollouts * rollouts] for place, row in enumerate(filled))
        shared = rollouts if same else 1
        keys = jnp.concatenate([keys, jnp.repeat(keys[:1], batch - len(rows))]).reshape(-1, shared)
        padded = pad_left(filled[::shared], tokenizer.pad, multiple)
        found = sampler(params, keys, padded.tokens, padded.mask, temperature)
        tokens, mask, finished = (np.asarray(x) for x in (found.tokens, found.mask, found.finished))
        drawn = [tuple(int(token) for token in row[kept]) for row, kept in zip(tokens, mask, strict=True)]
        replies = [
            Reply(text=tokenizer.decode(row), finished=bool(done), tokens=row)
            for row, done in zip(drawn, finished, strict=True)
        ]
        return replies[: len(rows)]

    def speak(keys: jax.Array, prompts: Sequence[Messages]) -> list[Reply]:
        rows = [tokenizer.encode(tokenizer.render(messages, reply=True)) for messages in prompts]
        calls = range(0, len(rows), batch)
        return [reply for at in calls for reply in one_call(keys[at : at + batch], rows[at : at + batch])]

    return speak


def rule_speaker(reply: Callable[[np.random.Generator, Messages], str]) -> Speaker:
    """A player who answers each prompt by a function of it and of randomness of its own."""

    def speak(keys: jax.Array, prompts: Sequence[Messages]) -> list[Reply]:
        seeds = np.asarray(jax.random.key_data(keys))
        return [Reply(text=reply(np.random.default_rng(seed), one)) for seed, one in zip(seeds, prompts, strict=True)]

    return speak

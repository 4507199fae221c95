"""Replies of the compiled loop against reading everything anew for each token; strings against searching the text."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdm.language import sampling
from jaxdm.language.sampling import Sampling, make_sampler
from tests.language.shapes import PLAIN, params, read
from tests.language.words import tokenizer

WORDS = tokenizer()


SMALL = dataclasses.replace(PLAIN, layers=1)


def test_the_vocabulary_is_that_of_the_decoder():
    assert len(WORDS.pieces) == SMALL.vocabulary


def step_by_step(prompt, key, settings, temperature, top_p, allowed):
    """One reply as its definition has it: text is searched anew, and everything is read anew, for each token."""
    uniforms = np.asarray(jax.random.uniform(key, (settings.length,)))
    tokens, chances = [], []
    while len(tokens) < settings.length:
        text = b"".join(WORDS.pieces[token] for token in tokens)
        due = settings.decision is not None and settings.decision.encode() in text
        logits = read(SMALL, [[*prompt, *tokens]])[0][-1].astype(np.float64)
        scores = np.where(allowed if due else True, logits, -np.inf)
        chance = np.exp((scores - scores.max()) / temperature)
        chance = chance / chance.sum()
        order = np.argsort(-chance)
        count = 1 + np.searchsorted(np.cumsum(chance[order]), top_p) if top_p < 1 else len(order)
        kept = np.zeros_like(chance)
        kept[order[:count]] = chance[order[:count]]
        kept = kept / kept.sum()
        token = int(np.searchsorted(np.cumsum(kept), uniforms[len(tokens)], side="right"))
        tokens.append(token)
        chances.append(np.log(kept[token]))
        text = b"".join(WORDS.pieces[one] for one in tokens)
        if token in WORDS.end or due or any(stop.encode() in text for stop in settings.stop):
            return tokens, chances, True, due
    return tokens, chances, False, False


@pytest.fixture(scope="module")
def played():
    """Forty replies with all that may end or bend them, and their prompts."""
    settings = Sampling(length=12, stop=("ab", "x y"), decision=":", top_p=True)
    rng = np.random.default_rng(8)
    prompts = rng.integers(5, 40, (4, 6))
    mask = np.arange(6) >= np.array([0, 1, 2, 4])[:, None]
    allowed = np.zeros((4, 40), bool)
    for row in allowed:
        row[rng.choice(40, 3, replace=False)] = True
    keys = jax.vmap(lambda key: jax.random.split(key, 10))(jax.random.split(jax.random.key(9), 4))
    sampler = make_sampler(SMALL, WORDS, settings)
    run = functools.partial(sampler, params(SMALL), top_p=0.95)
    out = run(keys, jnp.asarray(prompts), jnp.asarray(mask), allowed=jnp.asarray(allowed), temperature=1.5)
    return settings, prompts, mask, allowed, keys, run, jax.tree.map(np.asarray, out)


def test_replies_are_those_of_reading_everything_anew(played):
    settings, prompts, mask, allowed, keys, _, out = played
    reasons = set()
    for row in range(0, 40, 2):
        scenario = row // 10
        prompt = list(prompts[scenario][mask[scenario]])
        key = keys[scenario, row % 10]
        tokens, chances, finished, decided = step_by_step(prompt, key, settings, 1.5, 0.95, allowed[scenario])
        assert list(out.tokens[row][out.mask[row]]) == tokens
        np.testing.assert_allclose(out.log_probability[row][out.mask[row]], chances, atol=2e-4)
        assert (bool(out.finished[row]), bool(out.constrained[row])) == (finished, decided)
        assert not out.log_probability[row][~out.mask[row]].any()
        reasons.add((finished, decided, tokens[-1] in WORDS.end))
    assert len(reasons) >= 3  # decisions, ends or strings, and replies that the length cut off


def test_a_reply_does_not_depend_on_the_others(played):
    _, prompts, mask, allowed, keys, run, out = played
    others = jnp.asarray(prompts)[jnp.array([3, 1, 0, 2])], jnp.asarray(mask)[jnp.array([3, 1, 0, 2])]
    elsewhere = keys.at[0].set(keys[3]).at[1, 4:].set(keys[2, 4:])
    again = run(elsewhere, *others, allowed=jnp.asarray(allowed), temperature=1.5)
    np.testing.assert_array_equal(again.tokens[10:14], out.tokens[10:14])
    assert np.any(again.tokens != out.tokens)


def test_no_temperature_takes_the_most_likely_token(played):
    _, prompts, mask, allowed, keys, run, _ = played
    out = run(keys, jnp.asarray(prompts), jnp.asarray(mask), allowed=jnp.asarray(allowed), temperature=0.0)
    for scenario in range(4):
        reply = np.asarray(out.tokens[10 * scenario])[np.asarray(out.mask[10 * scenario])]
        free = len(reply) - int(out.constrained[10 * scenario])
        row = [*prompts[scenario][mask[scenario]], *reply]
        expected = np.argmax(read(SMALL, [row])[0][-len(reply) - 1 : -1], axis=-1)
        np.testing.assert_array_equal(reply[:free], expected[:free])
        np.testing.assert_array_equal(out.tokens[10 * scenario], out.tokens[10 * scenario + 9])
    assert not np.any(out.log_probability)


def test_an_automaton_finds_strings_where_searching_the_text_does():
    rng = np.random.default_rng(10)
    pieces = [b"", b"a", b"b", b"ab", b"ba", b"aab", b"abab", "é".encode(), "é".encode()[:1], "é".encode()[1:]]
    for strings in (["aba"], ["aab", "bb"], ["abaab", "ba"], ["bé"]):
        table = sampling.automaton(pieces, strings)
        for _ in range(60):
            state, text = 0, b""
            for token in rng.integers(0, len(pieces), 8):
                state, text = table[state, token], text + pieces[token]
                assert (state == table.shape[0] - 1) == any(string.encode() in text for string in strings)
    with pytest.raises(ValueError, match="strings"):
        sampling.automaton(pieces, [""])


def test_levels_of_a_uniform_number_draw_every_token_in_proportion():
    chance = np.random.default_rng(11).dirichlet(np.full(300, 0.05)).astype(np.float32)
    chance[::7] = 0
    chance = chance / chance.sum()
    levels = (np.arange(2_000) + 0.5) / 2_000
    draw = jax.jit(sampling.draw)
    found = draw(jnp.broadcast_to(chance, (2_000, 300)), jnp.asarray(levels))
    counts = np.bincount(found, minlength=300)
    assert not counts[chance == 0].any()
    np.testing.assert_allclose(counts / 2_000, chance, atol=1e-3)  # a level each side, and rounding
    assert np.all(np.diff(found) >= 0)
    halves = jnp.zeros((2_000, 300)).at[:, :2].set(0.5)
    assert int(draw(halves, jnp.full(2_000, np.nextafter(np.float32(1), 0)))[0]) == 1


def test_what_does_not_fit_is_refused():
    sampler = make_sampler(SMALL, WORDS, Sampling(length=2))
    keys, mask = jax.random.split(jax.random.key(0), (1, 1)), jnp.ones((1, 2), bool)
    with pytest.raises(ValueError, match="top_p"):
        sampler(params(SMALL), keys, jnp.ones((1, 2), int), mask, 1.0, 0.5)
    with pytest.raises(ValueError, match="allowed"):
        sampler(params(SMALL), keys, jnp.ones((1, 2), int), mask, 1.0, allowed=jnp.ones((1, 40), bool))
    with pytest.raises(ValueError, match="tokens"):
        sampler(params(SMALL), keys, jnp.ones((2, 2), int), mask, 1.0)
    with pytest.raises(ValueError, match="length"):
        make_sampler(SMALL, WORDS, Sampling(length=0))

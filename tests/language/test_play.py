"""Verbal play against its worlds, and fine-tuning on what was said."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdm import trainer
from jaxdm.envs import bandit
from jaxdm.language import Generated, Lora, finetuning, lora, speakers, verbal
from jaxdm.language.play import Reply, bandit_game, decoder_speaker, online_game, play, rule_speaker
from jaxdm.language.tokenizer import WordTokenizer
from tests.language.shapes import PLAIN, params, read

MEAN = jnp.array([[0.9, 0.1, 0.4], [0.2, 0.7, 0.1]])


def scenarios(feedback: verbal.Feedback = "chosen"):
    rng = np.random.default_rng(0)
    return [verbal.scenario(rng, list(verbal.TRAINING.values()), 3, 6, feedback) for _ in range(2)]


def instances():
    made = [bandit.make(mean, horizon=6) for mean in MEAN]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *made)


def by_name(scenario_names):
    """A player who reads the names that are listed and takes one by a rule of its text."""
    return rule_speaker(lambda rng, messages: f"Decision: {scenario_names(messages[0]['content'])}")


def test_words_are_decisions_in_the_world_and_its_regret_is_theirs():
    told = scenarios()

    def second_listed(text):
        return text.splitlines()[2].split(":")[0]

    played = play(jax.random.key(0), bandit_game(3), instances(), told, by_name(second_listed), 6)
    for scenario, mean, actions, regret in zip(told, np.asarray(MEAN), played.action, played.regret, strict=True):
        arm = scenario.order[1]
        assert np.all(actions == arm)
        np.testing.assert_allclose(regret, (mean.max() - mean[arm]) * np.arange(1, 7)[None].repeat(6, 0), atol=1e-5)
    assert np.all(np.isin(np.nansum(played.seen, axis=-1), [0, 1]))
    np.testing.assert_array_equal(~np.isnan(played.seen), np.eye(3, dtype=bool)[played.action])
    told_then = played.prompts[5][0][0]["content"]
    arm = played.action[0, 0, 0]
    paid = int(np.nansum(played.seen[0, 0, :5]))
    assert f"{told[0].names[arm]}: tried 5, {told[0].context.paid} {paid}." in told_then
    again = play(jax.random.key(0), bandit_game(3), instances(), told, by_name(second_listed), 6)
    np.testing.assert_array_equal(again.seen, played.seen)


def test_unreadable_replies_cost_random_decisions_and_are_counted():
    def mute(keys, prompts):
        return [Reply(text="Decision: nobody", finished=place % 2 == 0) for place in range(len(prompts))]

    played = play(jax.random.key(1), bandit_game(3), instances(), scenarios(), mute, 6)
    assert {"unknown name", "cut off"} == set(played.fault.ravel())
    counts = np.bincount(played.action.ravel(), minlength=3)
    total = counts.sum()
    assert np.all(np.abs(counts - total / 3) < 5 * np.sqrt(total * 2 / 9))
    with pytest.raises(ValueError, match="speaker"):
        play(jax.random.key(1), bandit_game(3), instances(), scenarios(), lambda keys, prompts: [], 2)


def test_online_learning_in_words_has_its_own_regret():
    losses = jnp.asarray(np.random.default_rng(3).uniform(size=(2, 6, 3)), jnp.float32)
    told = scenarios("all")

    def first_listed(text):
        return text.splitlines()[1].split(":")[0]

    played = play(jax.random.key(2), online_game(3), losses, told, by_name(first_listed), 6)
    for scenario, loss, regret, seen in zip(told, losses, played.regret, played.seen, strict=True):
        total = np.cumsum(loss, axis=0)
        expected = total[:, scenario.order[0]] - total.min(axis=1)
        np.testing.assert_allclose(regret, [expected] * 6, atol=1e-5)
        np.testing.assert_allclose(seen[0], loss, atol=1e-6)


@pytest.fixture(scope="module")
def corpus():
    """Sixteen decisions of a player who takes the best, in a vocabulary of at most 40 words."""
    rng = np.random.default_rng(4)
    told = scenarios()[0]
    prompts, replies = [], []
    for _ in range(16):
        arms = [int(arm) for arm in rng.integers(0, 3, 3)]
        seen = np.where(np.eye(3, dtype=bool)[arms], rng.integers(0, 2, (3, 1)), np.nan)
        prompts.append([{"role": "user", "content": " ".join(f"{x:g}" for x in np.nansum(seen, axis=0))}])
        replies.append(speakers.speak(rng, told, arms, seen, "best"))
    tokenizer = WordTokenizer(WordTokenizer.words_of([*replies, *(one[0]["content"] for one in prompts), " 0 1 2 3"]))
    assert len(tokenizer.words) <= PLAIN.vocabulary
    return tokenizer, prompts, replies


def test_an_adapter_learns_by_the_library_s_trainer(corpus):
    """Its first loss is that of the reply alone, as an adapter changes nothing at first."""
    tokenizer, prompts, replies = corpus
    rows = finetuning.reply_rows(tokenizer, prompts[:1], [tokenizer.encode(f"{replies[0]}<end>")], length=30, reply=12)
    rendered = tokenizer.encode(tokenizer.render([*prompts[0], {"role": "assistant", "content": replies[0]}]))
    assert rows.tokens[0][rows.mask[0]].tolist() == rendered
    spoken = int(rows.weight.sum())
    scores = read(PLAIN, [rendered])[0][-spoken - 1 : -1].astype(np.float64)
    every = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    expected = -np.take_along_axis(every, np.array(rendered[-spoken:])[:, None], axis=1).mean()

    settings = Lora(rank=4, alpha=8.0, targets=("query", "down"))
    made = trainer.make(finetuning.loss(PLAIN, 2, settings), trainer.adamw(2e-2, 60))
    state = jax.jit(lambda key: made.init(key, lora.init(key, PLAIN, settings)))(jax.random.key(2))
    data = (params(PLAIN), finetuning.ReplyRows._make(jnp.asarray(leaf) for leaf in rows))
    fit = trainer.fit(made, jax.tree.map(lambda leaf: leaf[None], state), data, 60)
    np.testing.assert_allclose(fit.losses[0, 0], expected, rtol=1e-4)
    assert fit.losses[0, -1] < fit.losses[0, 0] / 3  # some tokens cannot be put first by 16 numbers


def test_a_decoder_is_asked_in_calls_of_one_shape_that_read_equal_prompts_once(corpus):
    """A stand-in replies with the last word of its prompt, and with the end; every other rollout is cut off."""
    tokenizer, prompts, _ = corpus
    shapes = []

    def sampler(weights, keys, tokens, mask, temperature):
        shapes.append((keys.shape, tokens.shape))
        assert (weights, temperature) == ("weights", 0.5)
        rows = np.repeat(tokens[:, -3:-2], keys.shape[1], axis=0)  # before <end><assistant>
        count = len(rows)
        return Generated(
            tokens=jnp.asarray(np.concatenate([rows, np.full((count, 2), tokenizer.end[0])], axis=1)),
            mask=jnp.asarray([[True, True, False]] * count),
            log_probability=jnp.zeros((count, 3)),
            finished=jnp.arange(count) % 2 == 0,
            constrained=jnp.zeros(count, bool),
        )

    speaker = decoder_speaker(sampler, tokenizer, "weights", temperature=0.5, rollouts=2, batch=4, multiple=8)
    asked = [*[prompts[0]] * 2, *[prompts[1]] * 2, *[prompts[2]] * 2, *prompts[3:5]]
    said = speaker(jax.random.split(jax.random.key(3), 8), asked)
    lasts = [tokenizer.words[tokenizer.encode(one[0]["content"])[-1]] for one in asked]
    assert [one.text for one in said] == lasts
    assert [one.finished for one in said] == [True, False] * 4
    assert all(one.tokens and one.tokens[-1] == tokenizer.end[0] for one in said)
    assert shapes == [((2, 2), (2, 8)), ((4, 1), (4, 8))]
    assert len(speaker(jax.random.split(jax.random.key(3), 3), asked[:3])) == 3


def test_rows_that_cannot_be_are_refused(corpus):
    tokenizer, prompts, _ = corpus
    with pytest.raises(ValueError, match="replies"):
        finetuning.reply_rows(tokenizer, prompts[:1], [[]])
    with pytest.raises(ValueError, match="rows"):
        finetuning.reply_rows(tokenizer, prompts[:1], [[5] * 9], reply=4)

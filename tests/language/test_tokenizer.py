"""Words there and back, chat templates, padding, and which tokens of a dialogue are the assistant's."""

import types

import numpy as np
import pytest

from jaxdm.language.tokenizer import CheckpointTokenizer, WordTokenizer, assistant_spans, pad_left

TEXT = "Machine a paid 1 of 10.\nDecision: a"


DIALOGUE = [
    {"role": "system", "content": "Decide."},
    {"role": "user", "content": "Which?"},
    {"role": "assistant", "content": "Decision: a"},
    {"role": "user", "content": "It paid 1."},
    {"role": "assistant", "content": "Decision: b"},
]


def words() -> WordTokenizer:
    return WordTokenizer(WordTokenizer.words_of([TEXT, *(message["content"] for message in DIALOGUE)]))


def test_words_round_trip_and_unknown_ones_are_refused():
    tokenizer = words()
    assert tokenizer.decode(tokenizer.encode(TEXT)) == TEXT
    rendered = tokenizer.render(DIALOGUE, reply=True)
    tokens = tokenizer.encode(rendered)
    assert "".join(tokenizer.words[token] for token in tokens) == rendered
    assert tokens.count(tokenizer.end[0]) == len(DIALOGUE)
    with pytest.raises(ValueError, match="'nowhere'"):
        tokenizer.encode("nowhere")


def test_the_assistant_s_tokens_are_its_replies_with_their_ends():
    tokenizer = words()
    tokens, own = assistant_spans(tokenizer, DIALOGUE)
    assert tokens == tokenizer.encode(tokenizer.render(DIALOGUE))
    written = [tokenizer.words[token] for token, mine in zip(tokens, own, strict=True) if mine]
    assert "".join(written) == "Decision: a<end>Decision: b<end>"


class Inner:
    """Letters as tokens, in the interface of the `tokenizers` package."""

    def encode(self, text, add_special_tokens):
        assert not add_special_tokens
        return types.SimpleNamespace(ids=[ord(letter) for letter in text])


CHATML = """{% for message in messages %}<{{ message['role'] }}>{{ message['content'] }}{{ eos_token }}
{% endfor %}
{% if add_generation_prompt %}
<assistant>{% endif %}"""


def test_templates_run_in_a_sandbox_with_their_special_tokens():
    tokenizer = CheckpointTokenizer(Inner(), CHATML, {"eos_token": "|"}, (ord("|"),), 0)
    assert tokenizer.render(DIALOGUE[1:3]) == "<user>Which?|\n<assistant>Decision: a|\n"
    assert tokenizer.render(DIALOGUE[1:2], reply=True) == "<user>Which?|\n<assistant>"
    tokens, own = assistant_spans(tokenizer, DIALOGUE)
    written = "".join(chr(token) for token, mine in zip(tokens, own, strict=True) if mine)
    assert written == "Decision: a|Decision: b|"
    refusing = CheckpointTokenizer(Inner(), "{{ raise_exception('no system') }}", {}, (0,), 0)
    with pytest.raises(ValueError, match="no system"):
        refusing.render(DIALOGUE)
    with pytest.raises(ValueError, match="no chat template"):
        CheckpointTokenizer(Inner(), None, {}, (0,), 0).render(DIALOGUE)
    unsafe = CheckpointTokenizer(Inner(), "{{ messages.__class__.__mro__ }}", {}, (0,), 0)
    with pytest.raises(Exception, match="unsafe"):
        unsafe.render(DIALOGUE)
    forgetful = CheckpointTokenizer(Inner(), "{{ messages[-1]['content'] }}", {}, (ord("|"),), 0)
    with pytest.raises(ValueError, match="changes the text"):
        assistant_spans(forgetful, DIALOGUE)


def test_rows_are_padded_on_the_left():
    padded = pad_left([[1, 2, 3], [], [4]], pad=9, multiple=4)
    np.testing.assert_array_equal(padded.tokens, [[9, 1, 2, 3], [9, 9, 9, 9], [9, 9, 9, 4]])
    np.testing.assert_array_equal(padded.mask.sum(axis=1), [3, 0, 1])
    with pytest.raises(ValueError, match="rows"):
        pad_left([[1, 2, 3]], pad=0, at_most=2)

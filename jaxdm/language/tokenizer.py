"""Text as tokens: those of a checkpoint, with its chat template, and words for small models that are trained here.

Whatever reads text needs six things of a tokenizer: `encode`, `decode`, `render`, `pieces`, `end` and `pad`.
Tokenizers of checkpoints need the packages of `pip install 'jaxdm[language]'`; words need nothing.
"""

import importlib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import jinja2.sandbox
import numpy as np

from jaxdm.validation import InvalidInput, RefusedFile, positive_integer

Messages = Sequence[Mapping[str, str]]
"""A dialogue: `{"role": "system" | "user" | "assistant", "content": text}`."""


def package(name: str) -> Any:
    """A module of the extra `language`, which is imported where it is used.

    Raises:
        ImportError: it is not installed; the message says how it is.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(f"{name} is needed to read checkpoints; expected `pip install 'jaxdm[language]'`") from error


class Tokenizer(Protocol):
    """What reads and writes text."""

    @property
    def pieces(self) -> list[bytes]:
        """What each token stands for, by index; nothing for special tokens, which are no text."""
        ...

    @property
    def end(self) -> tuple[int, ...]:
        """Tokens that end a reply."""
        ...

    @property
    def pad(self) -> int:
        """The token that padding is filled with; masks say where it is, never its index."""
        ...

    def encode(self, text: str) -> list[int]:
        """Indices of a text, in which special tokens may be written out; nothing is put before or after it."""
        ...

    def decode(self, tokens: Iterable[int]) -> str:
        """The text of indices, without special tokens."""
        ...

    def render(self, messages: Messages, reply: bool = False) -> str:
        """A dialogue as text; where a `reply` is wanted, up to where it begins."""
        ...


class CheckpointTokenizer:
    """The tokenizer and the chat template that come with a checkpoint.

    Args:
        inner: a `tokenizers.Tokenizer`.
        template: jinja2, as Hugging Face has it.
        special: texts of the special tokens that templates use, such as `bos_token`.
        end: tokens that end a reply.
        pad: what padding is filled with.
    """

    def __init__(self, inner: Any, template: str | None, special: Mapping[str, str], end: tuple[int, ...], pad: int):
        """Compile the template in a sandbox, since it is somebody else's program."""
        self.inner, self.end, self.pad = inner, end, pad
        self.special = dict(special)
        environment = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        environment.globals["raise_exception"] = _refuse
        environment.globals["strftime_now"] = _no_date
        self.template = None if template is None else environment.from_string(template)
        self._pieces: list[bytes] | None = None

    @property
    def pieces(self) -> list[bytes]:
        """What each token stands for."""
        if self._pieces is None:
            count = self.inner.get_vocab_size(with_added_tokens=True)
            added = self.inner.get_added_tokens_decoder()
            special = {index for index, token in added.items() if token.special}
            texts = [self.inner.id_to_token(index) for index in range(count)]
            self._pieces = [
                b"" if index in special or text is None else text.encode() if index in added else _bytes(text)
                for index, text in enumerate(texts)
            ]
        return self._pieces

    def encode(self, text: str) -> list[int]:
        """Indices of a text."""
        return self.inner.encode(text, add_special_tokens=False).ids

    def decode(self, tokens: Iterable[int]) -> str:
        """The text of indices; bytes that are no UTF-8, as in the middle of a letter, become U+FFFD."""
        pieces = self.pieces
        return b"".join(pieces[int(token)] for token in tokens).decode("utf-8", errors="replace")

    def render(self, messages: Messages, reply: bool = False) -> str:
        """A dialogue as the checkpoint's template writes it.

        Raises:
            ValueError: the checkpoint has no template, or it refuses the dialogue.
        """
        if self.template is None:
            raise InvalidInput("tokenizer: no chat template; expected a checkpoint that is made for chat")
        return self.template.render(messages=list(messages), add_generation_prompt=reply, **self.special)


def _refuse(message: str) -> None:
    raise InvalidInput(f"messages: {message}; expected a dialogue that the chat template accepts")


def _no_date(form: str) -> str:
    raise InvalidInput(f"chat template: asks for the date ({form}); expected one whose text depends on its messages")


def _byte_letters() -> dict[str, int]:
    """The letters that byte-level tokenizers write bytes as: a byte's own where it is seen, else one from 256 on."""
    seen = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    letters = {chr(byte): byte for byte in seen}
    hidden = [byte for byte in range(256) if byte not in set(seen)]
    return letters | {chr(256 + place): byte for place, byte in enumerate(hidden)}


LETTERS = _byte_letters()


def _bytes(text: str) -> bytes:
    if not all(letter in LETTERS for letter in text):
        raise InvalidInput(f"tokenizer: token {text!r} is not of bytes; expected a byte-level vocabulary")
    return bytes(LETTERS[letter] for letter in text)


SPLITS = {
    "llama-bpe": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+",
    "qwen2": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+",
}
"""How text is cut before pairs are merged, by the name in GGUF metadata; `smollm` and `gpt-2` do it themselves."""


def from_gguf(metadata: Mapping[str, Any]) -> CheckpointTokenizer:
    """The byte-level BPE tokenizer of a GGUF file.

    Args:
        metadata: the file's keys and values.

    Raises:
        ValueError: another kind of tokenizer, or an unknown way of cutting text.
    """
    tokenizers = package("tokenizers")
    decoders, models = package("tokenizers.decoders"), package("tokenizers.models")
    normalizers, pre_tokenizers = package("tokenizers.normalizers"), package("tokenizers.pre_tokenizers")
    kind, cut = metadata.get("tokenizer.ggml.model"), metadata.get("tokenizer.ggml.pre")
    if kind != "gpt2":
        raise RefusedFile(f"tokenizer.ggml.model: {kind!r}; expected 'gpt2', a byte-level BPE")
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=cut in ("smollm", "gpt-2"))
    if cut in ("smollm", "gpt-2"):
        digits = [pre_tokenizers.Digits(individual_digits=True)] if cut == "smollm" else []
        steps = [*digits, byte_level]
    elif cut in SPLITS:
        steps = [pre_tokenizers.Split(tokenizers.Regex(SPLITS[cut]), behavior="isolated"), byte_level]
    else:
        raise RefusedFile(f"tokenizer.ggml.pre: {cut!r}; expected smollm, gpt-2, {', '.join(SPLITS)}")
    texts: list[str] = metadata["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ")) for merge in metadata["tokenizer.ggml.merges"]]
    inner = tokenizers.Tokenizer(models.BPE({text: index for index, text in enumerate(texts)}, merges))
    in_turn = pre_tokenizers.Sequence  # of the package, no record of ours
    inner.pre_tokenizer = in_turn(steps)
    inner.decoder = decoders.ByteLevel()
    if cut == "qwen2":
        inner.normalizer = normalizers.NFC()
    types = metadata["tokenizer.ggml.token_type"]
    inner.add_special_tokens([text for text, type in zip(texts, types, strict=True) if type == 3])
    names = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}
    found = {name: metadata.get(f"tokenizer.ggml.{key}_token_id") for name, key in names.items()}
    special = {name: texts[index] for name, index in found.items() if index is not None}
    end = found["eos_token"]
    if end is None:
        raise RefusedFile("tokenizer.ggml.eos_token_id: missing; expected the token that ends a reply")
    pad = found["pad_token"]
    template = metadata.get("tokenizer.chat_template")
    return CheckpointTokenizer(inner, template, special, (int(end),), int(end if pad is None else pad))


def from_folder(folder: Path, configuration: Mapping[str, Any], generation: Mapping[str, Any]) -> CheckpointTokenizer:
    """The tokenizer of a Hugging Face folder: `tokenizer.json` with what `tokenizer_config.json` says.

    Args:
        folder: where `tokenizer.json` lies; the template may also be in `chat_template.jinja`.
        configuration: contents of `tokenizer_config.json`.
        generation: contents of `generation_config.json` or `config.json`, of which `eos_token_id` is read.

    Raises:
        ValueError: no end of a reply is named.
    """
    inner = package("tokenizers").Tokenizer.from_file(str(folder / "tokenizer.json"))
    texts = {name: configuration.get(f"{name}_token") for name in ("bos", "eos", "unk", "pad")}
    special = {
        f"{name}_token": text["content"] if isinstance(text, dict) else text
        for name, text in texts.items()
        if text is not None
    }
    named = generation.get("eos_token_id")
    ends = [] if named is None else [named] if isinstance(named, int) else list(named)
    if "eos_token" in special:
        ends.append(inner.token_to_id(special["eos_token"]))
    if not ends or None in ends:
        raise RefusedFile(f"eos_token: {special.get('eos_token')!r}; expected the token that ends a reply")
    pad = inner.token_to_id(special["pad_token"]) if "pad_token" in special else None
    path = folder / "chat_template.jinja"
    template = path.read_text() if path.exists() else configuration.get("chat_template")
    if isinstance(template, list):  # several, by name
        template = next((one["template"] for one in template if one["name"] == "default"), None)
    return CheckpointTokenizer(inner, template, special, tuple(dict.fromkeys(ends)), ends[0] if pad is None else pad)


WORD = re.compile(r" ?[A-Za-z]+| ?\d| ?[^\sA-Za-z\d]|\s")
"""A word with the space before it, a digit, a sign, or white space: joined, they are the text again."""


class WordTokenizer:
    """Words as tokens, for models of one's own; a text with a word that is not among them is refused.

    Dialogues are written `<user>text<end><assistant>text<end>`.

    Args:
        words: the vocabulary; `words_of` finds that of texts.
    """

    SPECIAL = ("<pad>", "<end>", "<system>", "<user>", "<assistant>")

    def __init__(self, words: Iterable[str]):
        """Give the words their indices, after the special tokens."""
        self.words = [*self.SPECIAL, *sorted(set(words) - set(self.SPECIAL))]
        self.index = {word: index for index, word in enumerate(self.words)}
        self.pad, self.end = self.index["<pad>"], (self.index["<end>"],)
        self.pieces = [b"" if word in self.SPECIAL else word.encode() for word in self.words]

    @staticmethod
    def words_of(texts: Iterable[str]) -> set[str]:
        """All words of some texts."""
        return {word for text in texts for word in WORD.findall(text)}

    def encode(self, text: str) -> list[int]:
        """Indices of a text.

        Raises:
            ValueError: a word that has none.
        """
        parts = re.split(f"({'|'.join(self.SPECIAL)})", text)
        words = [word for part in parts for word in ([part] if part in self.SPECIAL else WORD.findall(part))]
        unknown = [word for word in words if word not in self.index]
        if unknown:
            raise InvalidInput(f"text: word {unknown[0]!r}; expected one of the {len(self.words)} of this vocabulary")
        return [self.index[word] for word in words]

    def decode(self, tokens: Iterable[int]) -> str:
        """The text of indices."""
        return b"".join(self.pieces[int(token)] for token in tokens).decode()

    def render(self, messages: Messages, reply: bool = False) -> str:
        """A dialogue as text."""
        text = "".join(f"<{message['role']}>{message['content']}<end>" for message in messages)
        return f"{text}<assistant>" if reply else text


class Padded(NamedTuple):
    """Rows of unequal length, padded on the left."""

    tokens: np.ndarray  # [B, T] int32
    mask: np.ndarray  # [B, T] bool


def pad_left(rows: Sequence[Sequence[int]], pad: int, multiple: int = 1, at_most: int | None = None) -> Padded:
    """Rows of tokens as one array; lengths are rounded up to a multiple, so that few programs are compiled.

    Args:
        rows: [B] of indices.
        pad: what fills the left.
        multiple: of the length.
        at_most: the longest row that is accepted.

    Raises:
        ValueError: no rows, or a row that is too long.
    """
    positive_integer("multiple", multiple)
    if not rows:
        raise InvalidInput("rows: none; expected at least one")
    longest = max(len(row) for row in rows)
    if at_most is not None and longest > at_most:
        raise InvalidInput(f"rows: one of {longest} tokens; expected at most {at_most}")
    length = -(-max(longest, 1) // multiple) * multiple
    tokens = np.full((len(rows), length), pad, np.int32)
    mask = np.zeros((len(rows), length), bool)
    for row, (values, kept) in zip(rows, zip(tokens, mask, strict=True), strict=True):
        if len(row):
            values[-len(row) :], kept[-len(row) :] = row, True
    return Padded(tokens=tokens, mask=mask)


def assistant_spans(tokenizer: Tokenizer, messages: Messages) -> tuple[list[int], list[bool]]:
    """A dialogue as tokens, and which of them the assistant writes, the end of each reply included.

    The text of each prefix of the dialogue must begin that of the next, as in templates that write message by message.

    Raises:
        ValueError: the template changes what it wrote before, so that no span is known.
    """
    tokens: list[int] = []
    own: list[bool] = []
    for count, message in enumerate(messages, start=1):
        if message["role"] != "assistant":
            continue
        before = tokenizer.encode(tokenizer.render(messages[: count - 1], reply=True))
        after = tokenizer.encode(tokenizer.render(messages[:count]))
        if before[: len(tokens)] != tokens or after[: len(before)] != before:
            raise InvalidInput(f"messages: reply {count} changes the text before it; expected a template that appends")
        length = next((n + 1 for n in range(len(before), len(after)) if after[n] in tokenizer.end), len(after))
        own += [False] * (len(before) - len(tokens)) + [True] * (length - len(before))
        tokens = after[:length]
    return tokens, own

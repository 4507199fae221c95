"""Closed models by files: requests answered elsewhere, replies read back, chats to fine-tune on; one JSON a line.

    request        {"custom_id": "2/14/3/0", "method": "POST", "url": "/v1/chat/completions", "body": {...}}
    reply          {"custom_id": "2/14/3/0", "response": {"status_code": 200, "body": {...}}, "error": null}
    fine-tuning    {"messages": [{"role", "content"} ..., {"role": "assistant", "content", "weight": 1}]}

A custom_id is iteration/scenario/rollout/round. Play is interactive, so each round of it is a file of requests and
one of replies, which come in any order and may fail. Nothing here is sent anywhere. What is known of a fine-tuning line
(scenario, regret) goes to a side file under the line's hash, for services refuse keys that they do not know.
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jaxdm.analysis.storage import write_text
from jaxdm.language.play import Reply
from jaxdm.language.tokenizer import Messages
from jaxdm.validation import InvalidInput, RefusedFile, integer

MOST_REQUESTS, MOST_BYTES, LEAST_CHATS = 50_000, 200_000_000, 10
"""What services commonly accept of a file: requests, bytes, and chats to fine-tune on."""


class Place(NamedTuple):
    """Which decision a request asks for."""

    iteration: int
    scenario: int
    rollout: int
    round: int

    def __str__(self) -> str:
        """The request's custom_id."""
        return f"{self.iteration}/{self.scenario}/{self.rollout}/{self.round}"


PLACE = re.compile(r"(\d{1,9})/(\d{1,9})/(\d{1,9})/(\d{1,9})")


def place(text: Any) -> Place:
    """The place that a custom_id names.

    Raises:
        ValueError: it names none.
    """
    found = PLACE.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise InvalidInput(f"custom_id: {text!r:.80}; expected iteration/scenario/rollout/round")
    return Place._make(map(int, found.groups()))


def export_requests(
    path: Path, model: str, requests: Mapping[Place, Messages], *, temperature: float = 1.0, most_tokens: int = 256
) -> Path:
    """Write requests for one round of play, whole or not at all.

    Args:
        path: of the file.
        model: its name at the service.
        requests: the prompt of each decision.
        temperature: of every reply.
        most_tokens: of a reply.

    Raises:
        ValueError: no request, more than a file may hold, or a dialogue that asks for no reply.
    """
    if not 1 <= len(requests) <= MOST_REQUESTS:
        raise InvalidInput(f"requests: {len(requests)}; expected 1 to {MOST_REQUESTS}")
    integer("most_tokens", most_tokens, 1)
    lines = []
    for where, messages in requests.items():
        _check_dialogue(str(where), messages, last="user")
        body = {
            "model": model,
            "messages": [dict(message) for message in messages],
            "temperature": temperature,
            "max_tokens": most_tokens,
        }
        lines.append({"custom_id": str(where), "method": "POST", "url": "/v1/chat/completions", "body": body})
    return _write(path, lines)


class Answers(NamedTuple):
    """What a file of replies holds."""

    replies: dict[Place, Reply]
    failed: dict[Place, str]  # why a request has no reply
    missing: list[Place]  # requests that the file says nothing about


def import_replies(path: Path, asked: Sequence[Place]) -> Answers:
    """Replies to requests, in any order.

    Args:
        path: of the file.
        asked: the places of the requests.

    Raises:
        ValueError: the file cannot be read, a line is no reply, or answers what was not asked, or again; the line is
            named.
    """
    wanted = set(asked)
    replies: dict[Place, Reply] = {}
    failed: dict[Place, str] = {}
    for number, line in enumerate(_read(path), start=1):
        where = f"{path.name} line {number}"
        try:
            at = place(line.get("custom_id"))
        except InvalidInput as error:
            raise RefusedFile(f"{where}: {error}") from error
        if at not in wanted or at in replies or at in failed:
            raise RefusedFile(f"{where}: custom_id {at} was {'answered before' if at in wanted else 'not asked'}")
        reason = _failure(line)
        if reason:
            failed[at] = reason
            continue
        try:
            choice = line["response"]["body"]["choices"][0]
            text, ended = choice["message"]["content"], choice.get("finish_reason", "stop")
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise RefusedFile(f"{where}: no reply in response.body.choices[0].message.content") from error
        if text is not None and not isinstance(text, str):
            raise RefusedFile(f"{where}: content is {type(text).__name__}; expected text")
        replies[at] = Reply(text=text or "", finished=ended == "stop")
    missing = [at for at in asked if at not in replies and at not in failed]
    return Answers(replies=replies, failed=failed, missing=missing)


def _failure(line: Mapping[str, Any]) -> str:
    """Why a line has no reply; empty where it has one."""
    if line.get("error"):
        return f"{line['error']!r:.200}"
    response = line.get("response")
    status = response.get("status_code") if isinstance(response, dict) else None
    return "" if status == 200 else f"status {status!r}"


class Chat(NamedTuple):
    """A dialogue to fine-tune on, and what is known of it."""

    messages: Messages  # the assistant's last
    weights: tuple[int, ...]  # of the assistant's messages, 1 where they count
    known: dict[str, Any]  # JSON types, for the side file


def export_chats(path: Path, chats: Sequence[Chat], count_tokens: Callable[[str], int], *, most_tokens: int) -> Path:
    """Write chats to fine-tune on, and beside them `<name>.known.jsonl` with what is known of each.

    Args:
        path: of the file.
        chats: at least ten.
        count_tokens: of a text; by another tokenizer than the service's it is an estimate.
        most_tokens: of a line.

    Raises:
        ValueError: too few chats, or one that a service would refuse: roles that do not alternate, an empty text, no
            reply that counts, or too many tokens; nothing is written then.
    """
    if len(chats) < LEAST_CHATS:
        raise InvalidInput(f"chats: {len(chats)}; expected at least {LEAST_CHATS}")
    lines, known = [], []
    for number, chat in enumerate(chats):
        where = f"chats[{number}]"
        _check_dialogue(where, chat.messages, last="assistant")
        spoken = [message for message in chat.messages if message["role"] == "assistant"]
        if len(chat.weights) != len(spoken) or not set(chat.weights) <= {0, 1} or not any(chat.weights):
            raise InvalidInput(f"{where}: weights {chat.weights}; expected 0 or 1 for each reply, some of them 1")
        length = sum(count_tokens(message["content"]) for message in chat.messages)
        if length > most_tokens:
            raise InvalidInput(f"{where}: {length} tokens; expected at most {most_tokens}")
        weights = iter(chat.weights)
        messages = [
            {"role": message["role"], "content": message["content"]}
            | ({"weight": next(weights)} if message["role"] == "assistant" else {})
            for message in chat.messages
        ]
        lines.append({"messages": messages})
        known.append({"line_sha256": hashlib.sha256(_line(lines[-1]).encode()).hexdigest(), **chat.known})
    _write(path.with_suffix(".known.jsonl"), known)
    return _write(path, lines)


def import_chats(path: Path) -> list[Chat]:
    """Chats as `export_chats` wrote them, with what is known of them where the side file is there.

    Raises:
        ValueError: a line that is no such chat, by its number.
    """
    beside = path.with_suffix(".known.jsonl")
    known = {line.pop("line_sha256", ""): line for line in _read(beside)} if beside.exists() else {}
    chats = []
    for number, line in enumerate(_read(path), start=1):
        where = f"{path.name} line {number}"
        if set(line) != {"messages"} or not isinstance(line["messages"], list):
            raise RefusedFile(f"{where}: keys {sorted(line)}; expected messages alone")
        try:
            _check_dialogue(where, line["messages"], last="assistant")
        except InvalidInput as error:
            raise RefusedFile(str(error)) from error
        own = [message for message in line["messages"] if message["role"] == "assistant"]
        weights = tuple(message.get("weight", 1) for message in own)
        if not all(weight in (0, 1) for weight in weights) or not any(weights):
            raise RefusedFile(f"{where}: weights {weights}; expected 0 or 1 for each reply, some of them 1")
        messages = [{"role": message["role"], "content": message["content"]} for message in line["messages"]]
        found = known.get(hashlib.sha256(_line(line).encode()).hexdigest(), {})
        chats.append(Chat(messages=messages, weights=weights, known=found))
    return chats


def _check_dialogue(where: str, messages: Any, last: str) -> None:
    """Refuse what is no dialogue: a system's message perhaps, then user and assistant in turn, with text in each."""
    if not isinstance(messages, (list, tuple)) or not messages:
        raise InvalidInput(f"{where}: no messages; expected a dialogue")
    for number, message in enumerate(messages):
        content = message.get("content") if isinstance(message, Mapping) else None
        if not isinstance(content, str) or not content.strip():
            raise InvalidInput(f"{where}: message {number} has no text")
    roles = [message.get("role") for message in messages]
    spoken = roles[1:] if roles[0] == "system" else roles
    expected = ["user", "assistant"] * (len(spoken) // 2 + 1)
    if not spoken or spoken != expected[: len(spoken)] or spoken[-1] != last:
        raise InvalidInput(f"{where}: roles {roles}; expected user and assistant in turn, {last} last")


def _line(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False)


def _write(path: Path, lines: Sequence[Mapping[str, Any]]) -> Path:
    text = "".join(f"{_line(line)}\n" for line in lines)
    if len(text.encode()) > MOST_BYTES:
        raise InvalidInput(f"{path.name}: {len(text.encode())} bytes; expected at most {MOST_BYTES}")
    return write_text(path, text)


def _read(path: Path) -> list[dict[str, Any]]:
    """The objects of a file, one a line, where only a newline ends a line.

    Raises:
        ValueError: a line that is none, by its number.
    """
    try:
        text = path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise RefusedFile(f"{path.name}: cannot be read ({error}); expected a JSONL file") from error
    found = []
    for number, line in enumerate(text.removesuffix("\n").split("\n"), start=1):
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise RefusedFile(f"{path.name} line {number}: no JSON ({error})") from error
        if not isinstance(value, dict):
            raise RefusedFile(f"{path.name} line {number}: {type(value).__name__}; expected an object")
        found.append(value)
    return found


class Waiting(Exception):
    """Play goes on when the replies to a file of requests are there; the text says which."""


def file_speaker(folder: Path, model: str, iteration: int, rollouts: int, *, most_tokens: int = 256) -> Callable:
    """A player who is asked by files: each round writes its requests and reads the replies beside them.

    The first round whose replies are missing raises `Waiting`; the same call, when they are there, plays the rounds
    before it again from their files and goes on. Requests that failed, or have no reply, are undecided.

    Args:
        folder: of this iteration; requests are `round-0.jsonl`, ..., replies `round-0.replies.jsonl`, ...
        model: its name at the service.
        iteration: for the ids.
        rollouts: L, of each scenario.
        most_tokens: of a reply.

    Raises:
        ValueError: replies that cannot be read, or requests of other play in the folder.
    """
    time = 0

    def speak(keys: Any, prompts: Sequence[Messages]) -> list[Reply]:
        nonlocal time
        places = [
            Place(iteration=iteration, scenario=row // rollouts, rollout=row % rollouts, round=time)
            for row in range(len(prompts))
        ]
        asked, answered = folder / f"round-{time}.jsonl", folder / f"round-{time}.replies.jsonl"
        requests = dict(zip(places, prompts, strict=True))
        if asked.exists():
            written = [line.get("body", {}).get("messages") for line in _read(asked)]
            if written != [[dict(message) for message in prompt] for prompt in prompts]:
                raise RefusedFile(f"{asked}: requests of other play; expected this one's, or another folder")
        else:
            folder.mkdir(parents=True, exist_ok=True)
            export_requests(asked, model, requests, most_tokens=most_tokens)
        if not answered.exists():
            raise Waiting(f"{answered} is to hold the replies to {asked}")
        found = import_replies(answered, places)
        time += 1
        return [found.replies.get(at, Reply(text="", finished=False)) for at in places]

    return speak

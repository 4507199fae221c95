"""Closed models by files: play through them is play, and what is malformed is refused by line and reason."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdm.envs import bandit
from jaxdm.language import files, verbal
from jaxdm.language.files import Chat, Place, Waiting
from jaxdm.language.play import Reply, bandit_game, play

ASKED = [Place(iteration=0, scenario=1, rollout=row, round=2) for row in range(3)]


def reply_line(at, text, **changed):
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    line = {"custom_id": str(at), "response": {"status_code": 200, "body": {"choices": [choice]}}, "error": None}
    return line | changed


def written(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_replies_come_in_any_order_and_may_fail(tmp_path):
    cut = reply_line(ASKED[2], "Decision: A")
    cut["response"]["body"]["choices"][0]["finish_reason"] = "length"
    lines = [cut, reply_line(ASKED[0], "x", response={"status_code": 429, "body": {}})]
    found = files.import_replies(written(tmp_path / "replies.jsonl", lines), ASKED)
    assert found.replies == {ASKED[2]: Reply(text="Decision: A", finished=False)}
    assert found.failed == {ASKED[0]: "status 429"}
    assert found.missing == [ASKED[1]]
    unicode = [reply_line(ASKED[0], "a\u2028b\x85c é")]  # line ends of other rules than JSONL's
    assert (
        files.import_replies(written(tmp_path / "one.jsonl", unicode), ASKED).replies[ASKED[0]].text
        == "a\u2028b\x85c é"
    )


GOOD = reply_line(ASKED[0], "Decision: A")


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("", "no JSON"),
        ("{", "no JSON"),
        ("[]", "list"),
        ("3", "int"),
        ("[" * 100_000, "no JSON"),
        ('{"custom_id": 3}', "custom_id"),
        ('{"custom_id": "1/2/3"}', "custom_id"),
        ('{"custom_id": "1/2/3/x"}', "custom_id"),
        (json.dumps(reply_line("9/9/9/9", "x")), "not asked"),
        (json.dumps(GOOD), "answered before"),
        (json.dumps(reply_line(ASKED[1], 3)), "int"),
        (json.dumps(reply_line(ASKED[1], "x", response={"status_code": 200})), "no reply"),
        (json.dumps(reply_line(ASKED[1], "x", response={"status_code": 200, "body": {"choices": []}})), "no reply"),
        (json.dumps(reply_line(ASKED[1], "x", response={"status_code": 200, "body": {"choices": [3]}})), "no reply"),
    ],
)
def test_a_malformed_reply_is_refused_by_line_and_reason(tmp_path, bad, reason):
    path = tmp_path / "replies.jsonl"
    path.write_text(f"{json.dumps(GOOD)}\n{bad}\n")
    with pytest.raises(ValueError, match=f"replies.jsonl line 2: .*{reason}"):
        files.import_replies(path, ASKED)


def test_fifty_broken_files_are_refused_or_read_without_a_trace(tmp_path):
    rng = np.random.default_rng(0)
    whole = json.dumps(GOOD).encode() + b"\n"
    path, reasons = tmp_path / "replies.jsonl", []
    for _ in range(50):
        broken = bytearray(whole)
        for place in rng.integers(0, len(broken), rng.integers(1, 4)):
            broken[place] = rng.integers(256)
        path.write_bytes(bytes(broken[: rng.integers(1, len(broken) + 1)]))
        try:
            files.import_replies(path, ASKED)
        except ValueError as error:
            reasons.append(str(error))
    assert all("replies.jsonl" in reason for reason in reasons)
    assert len(reasons) >= 25  # the others are broken inside a text, or say that they failed


def chat(text="Decision: A", **known):
    messages = [{"role": "user", "content": "Which?"}, {"role": "assistant", "content": text}]
    return Chat(messages=messages, weights=(1,), known=known)


def words(text):
    return len(text.split())


def test_chats_are_written_as_services_take_them_and_read_again(tmp_path):
    chats = [chat(f"Decision: {place} é", regret=place / 2) for place in range(10)]
    path = files.export_chats(tmp_path / "chats.jsonl", chats, words, most_tokens=10)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert all(set(line) == {"messages"} for line in lines)
    assert lines[3]["messages"][1] == {"role": "assistant", "content": "Decision: 3 é", "weight": 1}
    assert files.import_chats(path) == chats


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (chat(" "), "no text"),
        (chat()._replace(weights=(0,)), "weights"),
        (chat()._replace(weights=(1, 1)), "weights"),
        (chat("word " * 20), "tokens"),
        (chat()._replace(messages=[{"role": "user", "content": "Which?"}]), "roles"),
        (chat()._replace(messages=[*chat().messages, *chat().messages[1:]]), "roles"),
        (chat()._replace(messages=[]), "no messages"),
    ],
)
def test_a_chat_that_services_refuse_is_not_written(tmp_path, bad, reason):
    with pytest.raises(ValueError, match=rf"chats\[9\].*{reason}"):
        files.export_chats(tmp_path / "chats.jsonl", [chat()] * 9 + [bad], words, most_tokens=10)
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="at least 10"):
        files.export_chats(tmp_path / "chats.jsonl", [chat()] * 9, words, most_tokens=10)


def test_limits_of_requests_are_checked_before_writing(tmp_path):
    path = tmp_path / "requests.jsonl"
    prompt = [{"role": "user", "content": "Which?"}]
    with pytest.raises(ValueError, match="requests"):
        files.export_requests(path, "model", {})
    with pytest.raises(ValueError, match="roles"):
        files.export_requests(path, "model", {ASKED[0]: chat().messages})
    assert not path.exists()
    files.export_requests(path, "model", dict.fromkeys(ASKED, prompt))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [files.place(line["custom_id"]) for line in lines] == ASKED
    assert lines[0]["body"]["messages"] == prompt


def test_play_through_files_is_play(tmp_path):
    """A service answers each round's file in another order and with a failure; the same call then goes on."""
    rng = np.random.default_rng(1)
    told = [verbal.scenario(rng, list(verbal.TRAINING.values()), 3, 6) for _ in range(2)]
    made = [bandit.make(mean, horizon=6) for mean in jnp.array([[0.9, 0.1, 0.4], [0.2, 0.7, 0.1]])]
    instances = jax.tree.map(lambda *leaves: jnp.stack(leaves), *made)

    def answer(messages):
        return f"I read it. Decision: {messages[0]['content'].splitlines()[2].split(':')[0]}"

    def directly(keys, prompts):
        said = [Reply(text=answer(messages)) for messages in prompts]
        return [Reply(text="", finished=False), *said[1:]]

    def through_files():
        speaker = files.file_speaker(tmp_path, "model", iteration=0, rollouts=6)
        return play(jax.random.key(0), bandit_game(3), instances, told, speaker, 6)

    for time in range(6):
        with pytest.raises(Waiting, match=f"round-{time}.replies"):
            through_files()
        asked = [json.loads(line) for line in (tmp_path / f"round-{time}.jsonl").read_text().splitlines()]
        lines = [reply_line(line["custom_id"], answer(line["body"]["messages"])) for line in asked]
        lines[0] |= {"response": None, "error": {"code": "server_error"}}
        written(tmp_path / f"round-{time}.replies.jsonl", [lines[place] for place in rng.permutation(len(lines))])
    found = through_files()
    expected = play(jax.random.key(0), bandit_game(3), instances, told, directly, 6)
    np.testing.assert_array_equal(found.action, expected.action)
    np.testing.assert_array_equal(found.regret, expected.regret)
    assert (found.fault != "").sum() == 6
    with pytest.raises(ValueError, match="other play"):
        play(jax.random.key(9), bandit_game(3), instances, told[::-1], files.file_speaker(tmp_path, "m", 0, 6), 6)

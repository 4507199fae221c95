"""The file format of Cassandra's problems: every form, exact round trips, and faults that say where they are."""

import re
import time

import numpy as np
import pytest

from jaxdm.envs import cassandra, mdp, pomdp, sparse_mdp
from jaxdm.envs.mdp import MDP
from jaxdm.envs.pomdp import POMDP
from jaxdm.envs.sparse_mdp import SparseMDP

TIGER = """
# The tiger problem (Cassandra, Kaelbling, Littman 1994).
discount: 0.95
values: reward
states: tiger-left tiger-right
actions: listen open-left open-right
observations: hear-left hear-right

T:listen
identity
T:open-left
uniform
T:open-right
uniform

O:listen
0.85 0.15
0.15 .85   # a number without a leading zero
O:open-left
uniform
O:open-right
uniform

R:listen : * : * : * -1
R:open-left : tiger-left : * : * -1e2
R:open-left : tiger-right : * : * 10
R:open-right : tiger-left : * : * 10
R:open-right : tiger-right : * : * - 100
"""


PREAMBLE = "discount: .5\nvalues: reward\nstates: a b c\nactions: x y\nobservations: 2\n"


REST = "T: * uniform\nO: * uniform\n"


def parse(text: str) -> cassandra.Model:
    return cassandra.parse(text, np.float64)


def problem(text: str) -> POMDP:
    found = parse(text).problem
    assert isinstance(found, POMDP)
    return found


def test_tiger(double):
    model = parse(TIGER)
    found = model.problem
    assert model.states == ("tiger-left", "tiger-right")
    assert model.actions == ("listen", "open-left", "open-right")
    assert model.observations == ("hear-left", "hear-right")
    half = np.full((2, 2), 0.5)
    assert isinstance(found, POMDP)
    np.testing.assert_array_equal(found.transition, np.stack([np.eye(2), half, half], axis=1))
    np.testing.assert_array_equal(found.observation, [[[0.85, 0.15], [0.15, 0.85]], half, half])
    np.testing.assert_array_equal(found.reward, [[-1, -100, 10], [-1, 10, -100]])
    np.testing.assert_array_equal(found.initial, [0.5, 0.5])
    np.testing.assert_array_equal(found.initial_observation, [[1, 0], [1, 0]])
    assert found.discount == 0.95


@pytest.mark.parametrize(
    ("start", "law"),
    [
        ("", [1 / 3, 1 / 3, 1 / 3]),
        ("start: uniform", [1 / 3, 1 / 3, 1 / 3]),
        ("start: *", [1 / 3, 1 / 3, 1 / 3]),
        ("start: .5 2.5e-1 .25", [0.5, 0.25, 0.25]),
        ("start:\n0 1\n0", [0, 1, 0]),
        ("start: b", [0, 1, 0]),
        ("start: 2", [0, 0, 1]),
        ("start include: a 2", [0.5, 0, 0.5]),
        ("start include: c", [0, 0, 1]),
        ("start exclude: a", [0, 0.5, 0.5]),
        ("start: a c", [0.5, 0, 0.5]),
        ("start: 0 2", [0.5, 0, 0.5]),
        ("start: a 2", [0.5, 0, 0.5]),
        ("start: a b c", [1 / 3, 1 / 3, 1 / 3]),
        ("start: 0 0 1", [0, 0, 1]),
    ],
)
def test_every_form_of_start(double, start, law):
    np.testing.assert_array_equal(problem(PREAMBLE + start + "\n" + REST).initial, law)


def test_every_form_of_a_law(double):
    found = problem(
        PREAMBLE
        + """start: 0.2 0.8 0
        T: x : a : * 0
        T : x:a:b 0.25   T: x : 0 : c .75
        T: x : b 0.5 0.5
           0
        T: x : c reset
        T: y
        1 0 0
        0 1.0 0
        0 0 +1
        T: y : b uniform
        T: y : b : * 0.0  # later entries override earlier ones
        T: y : b : a 1
        O: *
        1 0
        .5 .5
        0 1
        O: y : * uniform
        O: 1 : c : 0 1e-1
        O: y : c : 1 9E-1
        """
    )
    np.testing.assert_array_equal(found.transition[:, 0], [[0, 0.25, 0.75], [0.5, 0.5, 0], [0.2, 0.8, 0]])
    np.testing.assert_array_equal(found.transition[:, 1], [[1, 0, 0], [1, 0, 0], [0, 0, 1]])
    np.testing.assert_array_equal(found.observation[0], [[1, 0], [0.5, 0.5], [0, 1]])
    np.testing.assert_array_equal(found.observation[1], [[0.5, 0.5], [0.5, 0.5], [0.1, 0.9]])


def test_every_form_of_a_reward_averages_exactly(double):
    """Against the sum over next states and observations, term by term."""
    laws = """
        T: x
        .2 .3 .5  1 0 0  0 .5 .5
        T: y uniform
        O: x
        .9 .1  .3 .7  .5 .5
        O: y : * .25 .75
        """
    rewards = """
        R: * : * : * : * 1
        R: x : a 1 2 3 4 5 6           # next state by observation
        R: x : b : c 7 8               # by observation
        R: x : c : b : 1 -9.5
        R: y : * : a : * 10
        R: y : b : * : 0 3
        """
    found = problem(PREAMBLE + laws + rewards)
    full = np.ones((2, 3, 3, 2))  # [A, S, S', O]
    full[0, 0] = [[1, 2], [3, 4], [5, 6]]
    full[0, 1, 2] = [7, 8]
    full[0, 2, 1, 1] = -9.5
    full[1, :, 0] = 10
    full[1, 1, :, 0] = 3
    expected = np.zeros((3, 2))
    for s, a, t, o in np.ndindex(3, 2, 3, 2):
        expected[s, a] += found.transition[s, a, t] * found.observation[a, t, o] * full[a, s, t, o]
    np.testing.assert_allclose(found.reward, expected, rtol=20 * np.finfo(np.float64).eps)
    costs = problem((PREAMBLE + laws + rewards).replace("values: reward", "values: cost"))
    np.testing.assert_array_equal(costs.reward, -found.reward)


def test_rewards_of_next_state_or_observation_alone(double):
    laws = "T: *\n.2 .3 .5  1 0 0  0 .5 .5\nO: *\n.9 .1  .3 .7  .5 .5\n"
    found = problem(PREAMBLE + laws + "R: x : * : b : * 2\nR: y : * : * : 1 4\n")
    expected = np.stack(
        [2 * found.transition[:, 0, 1], 4 * found.transition[:, 1] @ found.observation[1, :, 1]], axis=1
    )
    np.testing.assert_allclose(found.reward, expected, rtol=20 * np.finfo(np.float64).eps)


def test_mdp_file(double):
    text = """values: cost
    states: 2  actions: 2  discount: 1
    T: 0 identity  T: 1 : * 0.25 0.75
    R: 0 : 0 : * 3
    R: 0 : 1 : 1 : * 4
    R: 1 : 0 8 4
    R: 1 : 1 : 0 12
    """
    model = parse(text)
    assert isinstance(model.problem, MDP)
    assert model.states == ("0", "1")
    assert model.observations == ()
    np.testing.assert_array_equal(model.problem.reward, [[-3, -5], [-4, -3]])
    np.testing.assert_array_equal(model.problem.transition[:, 1], [[0.25, 0.75], [0.25, 0.75]])


def test_one_state_may_start_by_name_number_or_chance(double):
    one = "discount: 0\nvalues: reward\nstates: only\nactions: 1\nobservations: 1\nT: 0 identity\nO: 0 uniform\n"
    for start in ("only", "0", "1", "1.0", "uniform"):
        assert problem(one + f"start: {start}").initial == 1


def test_rows_within_the_formats_tolerance_are_divided_by_their_sum(double):
    found = problem(PREAMBLE + REST + "T: x : a .333333 .333333 .333333\n")
    np.testing.assert_allclose(found.transition[0, 0], 1 / 3, rtol=2 * np.finfo(np.float64).eps)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_round_trip_is_exact(double, tmp_path, dtype):
    random = np.random.default_rng(0)
    law = random.dirichlet(np.ones(5), (5, 2)) * (random.random((5, 2, 5)) < 0.6) + 0.1 * np.eye(5)[:, None]
    hidden = mdp.make(law / law.sum(-1, keepdims=True), random.normal(size=(5, 2)), discount=0.9, dtype=dtype)
    seen = random.dirichlet(np.ones(5), (2, 5))
    silent = pomdp.make(*hidden[:2], observation=seen, initial=hidden.initial, discount=0.3, dtype=dtype)
    numbered = tuple(map(str, range(5)))
    tiger = cassandra.parse(TIGER, dtype)
    mdp_model = cassandra.Model(problem=hidden, states=numbered, actions=("go", "stay"), observations=())
    pomdp_model = cassandra.Model(problem=silent, states=numbered, actions=("0", "1"), observations=tuple("vwxyz"))
    for i, model in enumerate((tiger, mdp_model, pomdp_model)):
        again = cassandra.read(cassandra.write(tmp_path / f"{i}.POMDP", model), dtype)
        assert again._replace(problem=None) == model._replace(problem=None)
        assert type(again.problem) is type(model.problem)
        for name, value in model.problem._asdict().items():
            np.testing.assert_array_equal(getattr(again.problem, name), value, err_msg=name)
            assert getattr(again.problem, name).dtype == dtype


def test_large_sparse_file_loads_in_seconds(double):
    """A corridor of 600 states as 600 * 5 * 2 single entries of T, and rewards of one next state."""
    size, actions = 600, 5
    lines = [f"discount: 0.95\nvalues: reward\nstates: {size}\nactions: {actions}\nobservations: 10\nO: * uniform"]
    for s in range(size):
        for a in range(actions):
            lines.append(f"T: {a} : {s} : {(s + a) % size} 0.75\nT: {a} : {s} : {(s + 2 * a + 1) % size} 0.25")
    lines.append("R: * : * : 7 : * 5")
    lines += [f"R: 0 : {s} : {s} : 3 1" for s in range(size)]
    begin = time.perf_counter()
    found = problem("\n".join(lines))
    assert time.perf_counter() - begin < 10
    assert found.transition[599, 4, 3] == 0.75
    np.testing.assert_allclose(found.reward[7, 0], 0.75 * (0.9 * 5 + 0.1 * 1), rtol=1e-15)
    np.testing.assert_allclose(found.reward[3, 4], 0.75 * 5, rtol=1e-15)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: 'end of file'; expected a line 'discount:"),
        ("hello\n" + PREAMBLE, "line 1: 'hello'; expected a keyword"),
        (PREAMBLE + "discount: .5", "line 6: 'discount'; expected it once"),
        (PREAMBLE.replace(".5", "1.5"), r"line 1: '1.5'; expected a discount in [0, 1]"),
        (PREAMBLE.replace(".5", "half"), "line 1: 'half'; expected a finite number"),
        (PREAMBLE.replace("reward", "gain"), "line 2: 'gain'; expected reward or cost"),
        (PREAMBLE.replace("a b c", "a b a"), "line 3: 'a'; expected each state once"),
        (PREAMBLE.replace("a b c", "a 2b"), "line 3: '2b'; expected a name of a state"),
        (PREAMBLE.replace("a b c", "uniform b"), "line 3: 'uniform'; expected a name of a state"),
        (PREAMBLE.replace("a b c", "0"), "line 3: '0'; expected at least one state"),
        (PREAMBLE.replace("a b c", ""), "line 3: 'states:'; expected a count or names"),
        (PREAMBLE.replace("states:", "states"), "line 3: 'states a'; expected a ':'"),
        (PREAMBLE + REST + "T: z uniform", "line 8: 'z'; expected one of the actions x, y, or '*'"),
        (PREAMBLE + REST + "T: x : d uniform", "line 8: 'd'; expected one of the states a, b, c, or '*'"),
        (PREAMBLE + REST + "T: x : 3 : a 1", "line 8: '3'; expected one of the states"),
        (PREAMBLE + REST + "T: x : a : b : c 1", "line 8: 'T : x : a : b : c 1'; expected at most 3 indices"),
        (PREAMBLE + REST + "T: x : a :", "line 8: 'T : x : a :'; expected at most 3 indices, and a value"),
        (PREAMBLE + REST + "T: x", "line 8: 'T : x'; expected at most 3 indices, and a value"),
        (PREAMBLE + REST + "T: x : a 1 0", "line 8: '2 numbers for T: x : a'; expected 3"),
        (PREAMBLE + REST + "T: x : a 1\n0 0\n0", "line 10: '4 numbers for T: x : a'; expected 3"),
        (PREAMBLE + REST + "T: x : a 1 0 nan", "line 8: 'nan'; expected a finite number"),
        (PREAMBLE + REST + "T: x : a 1 0 1e999", "line 8: '1e999'; expected a finite number"),
        (PREAMBLE + REST + "T: x : a 1.5\n-0.5 0", "line 8: '1.5'; expected a probability"),
        (PREAMBLE + REST + "T: x : a : b - 0.5", "line 8: '-0.5'; expected a probability"),
        (PREAMBLE + REST + "T: x : a identity", "line 8: 'identity'; expected numbers"),
        (PREAMBLE + REST + "O: x reset", "line 8: 'reset'; expected numbers"),
        (PREAMBLE + REST + "O: x identity", "line 8: 'identity'; expected numbers"),
        (PREAMBLE + REST + "R: x : a uniform", "line 8: 'uniform'; expected numbers"),
        (
            PREAMBLE + REST + "T: y : b : c .9",
            "line 8: 'T: 1 : 1'; expected probabilities that sum to 1; they sum to 1.5",
        ),
        (PREAMBLE + "O: * uniform", "line 6: 'T: 0 : 0'; expected probabilities that sum to 1; they sum to 0"),
        (PREAMBLE + REST + "start: .5 .6 0", "line 8: 'start:'; expected probabilities that sum to 1; they sum to 1.1"),
        (PREAMBLE + REST + "start: d", "line 8: 'd'; expected one of the states"),
        (PREAMBLE + REST + "start: .5", "line 8: '.5'; expected one of the states"),
        (PREAMBLE + REST + "start include: *", "line 8: '*'; expected names of states"),
        (PREAMBLE + REST + "start include:", "line 8: 'start include:'; expected names of states"),
        (PREAMBLE + REST + "start exclude: a b c", "line 8: 'start exclude:'; expected at least one state left"),
        (PREAMBLE + REST + "start: a\nstart: b", "line 9: 'start'; expected one start"),
        ("discount: 1\nvalues: reward\nstates: 1\nactions: 1\nO: * uniform\nT: * uniform", "line 5: 'O:'; expected no"),
    ],
)
def test_faults_name_line_and_word(text, message):
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        parse(text)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_only_an_end_of_line_ends_a_comment(double, end):
    body = "".join(f"R: x : a : * : * 1 # was:{mark}R: x : a : * : * 100\n" for mark in "\f\v\x1c\x1d\x85\u2028\u2029")
    assert problem((PREAMBLE + REST + body).replace("\n", end)).reward[0, 0] == 1


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings_of_files(double, tmp_path, encoding):
    text = PREAMBLE.replace("a b c", "élan b c") + REST + "# é\nR: x : élan : * : * 3\x1a"
    path = tmp_path / "file.POMDP"
    path.write_bytes(text.encode(encoding))
    model = cassandra.read(path, np.float64)
    assert model.states == ("élan", "b", "c")
    assert model.problem.reward[0, 0] == 3


def test_bytes_that_are_no_text_are_named(double, tmp_path):
    path = tmp_path / "file.POMDP"
    path.write_bytes((PREAMBLE + REST + "# café\n").encode("latin-1"))
    cassandra.read(path)
    for data, message in (
        (
            (PREAMBLE.replace("a b c", "café b c") + REST).encode("latin-1"),
            "line 3: 'byte 0xe9'; expected text in UTF-8",
        ),
        (PREAMBLE.encode("utf-16")[:-1], "line .: 'byte 0xa'; expected text in"),
        (PREAMBLE.encode("utf-16-le"), "line 1: "),
        (b"\0" * 100, "line 1: "),
    ):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=message):
            cassandra.read(path)
    with pytest.raises(ValueError, match="line 8: 'T: x '; expected nothing after Ctrl-Z"):
        parse(PREAMBLE + REST + "\x1aT: x uniform")


def test_what_writers_of_such_files_do(double):
    found = problem(
        PREAMBLE
        + """O: * uniform
        T: x : a : a : 1.0   # POMDPFiles.jl puts a colon before the number
        T: x : b : c : - -0
        T: x : b : b : 1
        T: x : c
        1.0 -1e-17 0.0
        T: y uniform
        R: x : a : a : 1 : -4.5
        R: * : * : * : *-1
        """.replace(": - -0", ": 0")
    )
    np.testing.assert_array_equal(found.transition[:, 0], [[1, 0, 0], [0, 1, 0], [1, 0, 0]])
    np.testing.assert_array_equal(found.reward, -np.ones((3, 2)))
    two = "discount: 1\nvalues: reward\nstates: 2\nactions: 1\nT: * identity\nR: 0 : 0 : 0 : 5\nR: 0 : 1 : 1 : *-3\n"
    np.testing.assert_array_equal(parse(two).problem.reward, [[5], [-3]])
    for word in ("-1e-9", "1.1"):
        with pytest.raises(ValueError, match=f"line 8: '{word}'; expected a probability"):
            parse(PREAMBLE + REST + f"T: x : a {word} 0 1")


MORE_FAULTS = [
    (
        PREAMBLE.replace("a b c", "1000000000") + REST,
        "line 3: 'states: 1000000000, actions: 2, observations: 2'; expected",
    ),
    (PREAMBLE.replace("a b c", "100000") + REST, "takes 4.8e+11"),
    (PREAMBLE.replace("a b c", "9" * 4301) + REST, "expected at least one state, and fewer than 1e15"),
    (PREAMBLE.replace("a b c", "a" * 10**6) + REST, "expected words of at most 65536"),
    (PREAMBLE.replace("a b c", "a b " + "9" * 60000) + REST, "line 3: '999"),
    (PREAMBLE.replace(".5", "") + REST, "line 1: '0 numbers for discount:'; expected 1"),
    (PREAMBLE.replace(".5", ".5 .5") + REST, "line 1: '2 numbers for discount:'; expected 1"),
    (PREAMBLE.replace("reward", "") + REST, "line 2: ''; expected reward or cost"),
    (PREAMBLE + REST + "start:", "line 8: 'start:'; expected names of states"),
    (PREAMBLE + REST + "start: 1 3", "line 8: '3'; expected one of the states"),
    (PREAMBLE + REST + "start: .5 .5", "line 8: '2 numbers for start:'; expected 3"),
    (PREAMBLE + REST + "start: 1 1 1 1", "line 8: '4 numbers for start:'; expected 3"),
    (PREAMBLE + REST + "R: x : a : a : 0 1e400", "line 8: '1e400'; expected a finite number"),
    (PREAMBLE + "T: x reset", "line 6: 'reset'; expected numbers"),
    (PREAMBLE + REST + "T: x : a reset\nstart: a", "line 9: 'start'; expected it before the first 'reset'"),
    ("discount: 1\nstates: 2\nT: * uniform", "line 3: 'T'; expected a line 'values: ...' before it"),
]


@pytest.mark.parametrize(("text", "message"), MORE_FAULTS, ids=range(len(MORE_FAULTS)))  # a text may be too long a name
def test_more_faults_name_line_and_word_in_few_words(text, message):
    with pytest.raises(ValueError, match=re.escape(message)) as found:
        parse(text)
    assert re.match(r"line \d+: ", str(found.value))
    assert len(str(found.value)) < 300


def test_memory_is_refused_with_numbers():
    text = PREAMBLE.replace("a b c", "100") + REST
    cassandra.parse(text)
    with pytest.raises(ValueError, match="at most memory=100000 bytes; it takes 5"):
        cassandra.parse(text, memory=100000)
    with pytest.raises(ValueError, match="line 115: '108 rewards'"):
        cassandra.parse(PREAMBLE + REST + "R: x : a : b : 1 5\n" * 200, memory=2590)


def test_long_lines_are_read_in_pieces_and_progress_is_told(double, tmp_path):
    size = 150
    law = np.random.default_rng(0).dirichlet(np.ones(size), (1, size))
    text = f"discount: 1 values: reward states: {size} actions: 1 T: * " + " ".join(map(repr, law.ravel().tolist()))
    text += " #" + "T: * uniform " * 20000 + "\nR: * : * : * 2"
    path = tmp_path / "long.MDP"
    path.write_text(text)
    calls = []
    found = cassandra.read(path, np.float64, progress=lambda done, whole: calls.append((done, whole))).problem
    assert isinstance(found, MDP)
    np.testing.assert_array_equal(found.transition[:, 0], law[0])
    assert np.all(found.reward == 2)
    assert calls[-1] == (len(text), len(text))


WORDS = [
    "0",
    "1",
    "-1",
    "0.5",
    "1e999",
    "9" * 30,
    "*",
    ":",
    "#",
    "T:",
    "O:",
    "R:",
    "start:",
    "uniform",
    "identity",
    "reset",
]
MDP_FILE = """discount: 0.9
values: cost
states: 2
actions: 2
start: 1 0
T: 0 identity
T: 1 : * 0.25 0.75
R: 0 : 0 : * 3
"""


def mutated(random: np.random.Generator, text: str) -> str:
    """One to three random changes: characters deleted, inserted or swapped, lines moved, words replaced."""
    for _ in range(random.integers(1, 4)):
        i, j = sorted(random.integers(0, len(text), 2))
        lines, words = text.split("\n"), re.split(r"(\s+)", text)
        line, other, word = random.integers(len(lines)), random.integers(len(lines)), random.integers(len(words))
        kind = random.integers(7)
        if kind == 0:
            text = text[:i] + text[i + 1 + random.integers(3) :]
        elif kind == 1:
            text = text[:i] + random.choice([*"0123456789.:-+*# abTOR\n\r\f\x1a\0é\ud800\u2028"]) + text[i:]
        elif kind == 2:
            text = text[:i] + text[j : j + 1] + text[i + 1 : j] + text[i : i + 1] + text[j + 1 :]
        elif kind == 3:
            text = "\n".join(lines[:line] + lines[line + 1 :])
        elif kind == 4:
            lines[line], lines[other] = lines[other], lines[line]
            text = "\n".join(lines)
        elif kind == 5:
            text = "\n".join([*lines[:line], lines[other], *lines[line:]])
        else:
            words[word] = random.choice(WORDS)
            text = "".join(words)
        text = text or "#"
    return text


def outcome(text):
    """The fault of a text, or the problem in it."""
    try:
        return None, cassandra.parse(text).problem
    except Exception as fault:
        return fault, None


def test_mutated_files_give_a_right_value_or_a_clear_fault():
    """300 changed texts: rows of what is read sum to one; what is refused names its line."""
    random = np.random.default_rng(0)
    good = [TIGER, PREAMBLE + "start: 0.2 0.8 0\n" + REST + "T: x : a reset\nR: x : a 1 2 3 4 5 6\n", MDP_FILE]
    read = 0
    for i in range(300):
        text = mutated(random, good[i % len(good)])
        fault, found = outcome(text)
        if fault is not None:
            assert type(fault) is ValueError, text
            assert re.match(r"line \d+: ", str(fault)), text
            assert len(str(fault)) < 300, text
        elif isinstance(found, MDP):
            mdp.validate(found)
        elif isinstance(found, POMDP):
            pomdp.validate(found)
        read += fault is None
    assert 20 < read < 280


def test_what_cannot_be_written_is_refused(double):
    model = parse(TIGER)
    assert isinstance(model.problem, POMDP)
    seen = model.problem._replace(initial_observation=model.problem.observation[0])
    with pytest.raises(ValueError, match=r"^initial_observation: "):
        cassandra.render(model._replace(problem=seen))
    with pytest.raises(ValueError, match=r"^states: 1 names; expected 2"):
        cassandra.render(model._replace(states=("one",)))
    with pytest.raises(ValueError, match="'T'; expected a name of a state"):
        cassandra.render(model._replace(states=("T", "F")))


def overlapping_statements(random):
    """An MDP's file whose T and R statements cover one another: single numbers, rows, matrices, `*` and words."""

    def place(size):
        return str(random.choice([*range(size), "*"]))

    def row():
        return " ".join(map(str, random.choice([[0, 0, 1, 0], [0.25, 0.5, 0, 0.25], [0, 0.5, 0.5, 0]])))

    lines = ["discount: 0.9", "values: reward", "states: 4", "actions: 2", "start: 0 0.5 0 0.5", "T: * identity"]
    for _ in range(random.integers(8)):
        a, s = place(2), place(4)
        body = random.choice(["row", "word", "matrix", "move", "reset"])
        lines += {
            "row": [f"T: {a} : {s}", row()],
            "word": [f"T: {a} " + random.choice(["uniform", "identity"])],
            "matrix": [f"T: {a}"] + [row() for _ in range(4)],
            "move": [f"T: {a} : {s} : * 0", f"T: {a} : {s} : {random.integers(4)} 1"],
            "reset": [f"T: {a} : {s} reset"],
        }[body]
    for _ in range(random.integers(8)):
        lines.append(f"R: {place(2)} : {place(4)} : {place(4)} : * {random.integers(-2, 3)}")
        if random.random() < 0.3:
            lines += [f"R: {place(2)} : {place(4)}", " ".join(map(str, random.integers(-1, 2, size=4)))]
    return "\n".join(lines)


@pytest.mark.parametrize(("start", "expected"), [("0 1", [0, 1]), ("1 0", [1, 0]), ("0 .5 0.5", [0, 0.5, 0.5])])
def test_as_many_numbers_as_counted_states_are_probabilities(start, expected):
    """Not the states 0 and 1, each with the same chance."""
    text = f"discount: 1\nvalues: reward\nstates: {len(expected)}\nactions: 1\nstart: {start}\nT: * identity"
    np.testing.assert_array_equal(cassandra.parse(text).problem.initial, expected)


def test_a_sparse_mdp_is_the_dense_one(double):
    """The later statement holds, whatever the two cover; and a sparse problem survives a file."""
    random = np.random.default_rng(0)
    for _ in range(80):
        text = overlapping_statements(random)
        dense, model = cassandra.parse(text).problem, cassandra.parse(text, sparse=True)
        again = cassandra.parse(cassandra.render(model), sparse=True)
        for found in (model.problem, again.problem):
            assert isinstance(found, SparseMDP)
            for name, value in sparse_mdp.to_dense(found)._asdict().items():
                np.testing.assert_allclose(value, getattr(dense, name), rtol=0, atol=1e-15, err_msg=f"{name}\n{text}")


def test_a_large_mdp_is_read_by_its_transitions(double):
    """Its dense form would take 1.2 GB; one action has two successors, the other one."""
    size, memory = 5000, 2**22
    names = " ".join(f"s{i}" for i in range(size))
    lines = ["discount: 0.9", "values: cost", f"states: {names}", "actions: go stay", "start: s0"]
    lines += ["T: stay identity", "R: go : * : * : * 1", "R: go : * : s0 3"]
    for i in range(size):
        lines.append(f"T: go : s{i} : s{min(i + 1, size - 1)} 0.75\nT: go : s{i} : s0 {'' if i else '+ '}0.25")
    text = "\n".join(lines)
    with pytest.raises(ValueError, match=r"line 3: 'states: 5000, .*it takes 1.2.*e\+09; sparse=True takes what"):
        cassandra.parse(text, memory=memory)
    problem = cassandra.parse(text, sparse=True, memory=memory).problem
    assert isinstance(problem, SparseMDP)
    assert problem.successor.shape == (size, 2, 2)
    np.testing.assert_allclose(problem.reward, np.broadcast_to([-1.5, 0.0], (size, 2)), atol=1e-15)
    dense_row = text + "\nT: go : s7 uniform"
    with pytest.raises(ValueError, match=r"'5000 successors'; expected .* as all rows are padded to the longest"):
        cassandra.parse(dense_row, sparse=True, memory=memory)
    with pytest.raises(ValueError, match=r"'25000000 transitions'; expected a problem of at most memory=\d+ bytes"):
        cassandra.parse(text + "\nT: go uniform", sparse=True, memory=memory)


def test_only_an_mdp_is_read_as_sparse():
    with pytest.raises(ValueError, match=r"line 7: 'observations:'; expected none, as only an MDP is read as sparse"):
        cassandra.parse(TIGER, sparse=True)

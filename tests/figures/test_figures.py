"""The report from tiny synthetic results: complete, honest, self-contained, and drawn without jax."""

import html.parser
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from figures import __main__ as runner
from figures import report, selection, sft, style, theory
from jaxdm.analysis import storage
from jaxdm.analysis.claims import Claim, write_claims, write_rows
from jaxdm.analysis.storage import named

ROOT = Path(runner.__file__).parent.parent


COMMAND = "python -m experiments.sft"


def claim(id, verdict="holds", **changes):
    record: dict[str, Any] = {
        "id": id,
        "source": "A & B 1999",
        "statement": f"<{id}> is so",
        "measured": 0.123456,
        "low": -0.1,
        "high": 0.2,
        "target": "<= 0.5",
        "verdict": verdict,
        "refuted": True,
        "command": f"python -m theory {id}",
    }
    return Claim(**record | changes)


def store_curves(root, id, **metrics):
    storage.write_result(root, "theory", {"id": id}, metrics, f"python -m theory {id}")


def synthetic_sft(root, seeds=4, settings=("pomdp",), axes=()):
    rng = np.random.default_rng(0)
    demonstrations, methods = np.array([0, 1, 2, 4, 8, 16]), np.array(["SFT", "ICL-only", "majority vote", "random"])
    fall = 1 / (1 + np.array([0.9, 0.4, 0.2, 0.0])[:, None] * demonstrations)
    tasks = fall[..., None, None] + 0.03 * rng.normal(size=(4, 6, seeds, 10))
    gap = tasks.mean(axis=-1)
    steps = np.arange(0, 2000, 100)
    loss = 1.4 * np.exp(-steps / 600) + 0.2 + 0.03 * rng.normal(size=(seeds, 20))
    compared = {"setting": settings, "agent": methods, "demonstrations": demonstrations, "seed": range(seeds)}
    metrics = {
        "gap": named(np.stack([gap] * len(settings)), **compared),
        "gap_of_value": named(np.stack([gap / 2] * len(settings)), **compared),
        "gap_by_task": named(np.stack([tasks] * len(settings)), **compared, task=range(10)),
    }
    for stage, curve in (("pretrain", loss), ("sft", loss / 2)):
        metrics[f"curve {stage}"] = named(curve, seed=range(seeds), step=steps)
    for axis in axes:
        followed = ["SFT"] if axis == "tasks" else ["SFT", "ICL-only", "demonstration vote"]
        gaps = rng.uniform(size=(len(followed), 3, seeds))
        along = "horizon" if axis.startswith("horizon") else axis
        metrics[f"axis_{axis}"] = named(gaps, agent=followed, **{along: [1, 2, 4]}, seed=range(seeds))
    if axes:
        visits = ["never demonstrated", "demonstrated"]
        metrics["accuracy"] = named(rng.uniform(size=(len(settings), 4, 6, seeds, 5)), **compared, step=range(1, 6))
        metrics["accuracy_by_visit"] = named(
            rng.uniform(size=(len(settings), 4, 6, seeds, 2)), **compared, visit=visits
        )
        overlap = np.repeat(np.array([[0.9, 0.2], [0.1, 0.8]])[..., None], seeds, axis=-1)
        experts = ["oracle", "adversarial"]
        metrics["imitation"] = named(overlap, trained_on=experts, shown=experts, seed=range(seeds))
        explained = [[0.9] * seeds, [0.1] * seeds]
        metrics["probe"] = named(explained, network=["SFT", "untrained"], seed=range(seeds))
    config = {"supports": 2, "settings": list(settings)}
    return storage.write_result(root, "sft", config, metrics, COMMAND)


def full_results(root):
    path = synthetic_sft(root)
    write_claims(path, [claim("E1", "differs", refuted=None)], COMMAND)
    for id in ("L2", "L10"):
        write_rows(root / "theory" / f"{id}.json", [claim(id)])
    write_rows(root / "theory" / "N1.json", [claim("N1", "fails", refuted=False, measured=float("nan"))])
    wrong = [{"id": "L2", "wrong": "x 2", "rejected": True}, {"id": "L2", "wrong": "<x 3>", "rejected": False}]
    storage.write_json(root / "theory" / "mutations.json", wrong)
    row = {"work": "1000 MDPs", "ours": 0.5, "peer": 5.0, "peer_name": "other", "units": "s", "ratio": 10.0}
    storage.write_json(root / "speed.json", [row, row | {"work": "tiny", "ratio": 0.5}])
    return root


DASH, MINUS = "\N{EN DASH}", "\N{MINUS SIGN}"


class Page(html.parser.HTMLParser):
    """Cells, sources, links and anchors of a page, its table of all rows, and that every tag is closed."""

    VOID = ("img", "meta", "br", "input", "wbr")

    def __init__(self, text):
        super().__init__()
        self.open, self.cells, self.classes, self.sources, self.links, self.anchors = [], [], [], [], [], []
        self.rows, self.row = {}, None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.sources += [values["src"]] if "src" in values else []
        self.links += [values["href"]] if "href" in values else []
        self.anchors += [values["id"]] if "id" in values else []
        if tag == "tr":
            self.row = self.rows.setdefault(values["id"], []) if "id" in values else None
        if tag == "td":
            self.cells.append("")
            self.classes.append(values.get("class") or "")
            if self.row is not None:
                self.row.append("")
        elif "td" in self.open and values.get("class"):
            self.classes[-1] += f" {values['class']}"
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "td" in self.open:
            self.cells[-1] += data
            if self.row is not None:
                self.row[-1] += data


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    root = full_results(tmp_path_factory.mktemp("results"))
    missing = report.write_report(root)
    return root, missing, (root / "report.html").read_text()


def test_the_page_is_whole_and_needs_nothing_else(written):
    _, _, text = written
    page = Page(text)
    assert page.open == []
    assert page.sources
    assert all(source.startswith("data:image/svg+xml;base64,") for source in page.sources)
    assert not re.search(r"(src|href)=.?(https?:|//)|@import|url\(", text)
    assert len(set(page.anchors)) == len(page.anchors)
    assert {link.removeprefix("#") for link in page.links} <= set(page.anchors)


def test_all_rows_stand_in_the_last_table_with_every_field_and_verdicts_as_they_are(written):
    _, _, text = written
    page = Page(text)
    assert text.index('id="summary"') < text.index('id="paper-1"') < text.index('id="effort"') < text.index('id="all"')
    *row, command = page.rows["row-L2"]
    measured, target = f"0.1235 [{MINUS}0.1, 0.2]", "\N{LESS-THAN OR EQUAL TO} 0.5"
    shown = ["L2", "<L2> is so", "A & B 1999", DASH, measured, target, "void", DASH]
    assert row == [*shown, "refuted, 1 of 2"]
    assert command.endswith("python -m theory L2")
    assert {id: row[6] for id, row in page.rows.items()} == {
        "row-L2": "void",
        "row-L10": "holds",
        "row-N1": "fails",
        "row-E1": "differs",
    }
    assert page.rows["row-E1"][8] == DASH
    assert page.rows["row-N1"][4].startswith(DASH)  # NaN
    assert page.rows["row-N1"][8] == "not refuted"
    assert page.classes[page.cells.index("void")].split() == ["verdict", "void"]
    assert "Void, since a wrong version passed too: L2" in text


def test_rows_stand_under_their_question_too_and_are_read_without_scripts(written):
    _, _, text = written
    page = Page(text.split('id="all"')[0])
    start = page.cells.index("L10")
    assert page.cells[start : start + 2] == ["L10", "<L10> is so"]
    assert text.index("Which theorem says that an attention layer") < text.index("<b>L10</b>")
    assert "<noscript" not in text


def test_a_figure_names_its_command_and_the_rows_of_its_own_study(tmp_path):
    path = synthetic_sft(tmp_path)
    write_claims(path, [claim("SFT-half", rank="preview", command=COMMAND)], COMMAND)
    report.write_report(tmp_path)
    text = (tmp_path / "report.html").read_text()
    caption = text.split('<figure id="sft_gap">')[1].split("</figure>")[0]
    assert f"<code>{COMMAND}</code>" in caption
    assert 'Rows: <a href="#row-SFT-half">SFT-half</a>' in caption
    row = text.split('<tr id="row-SFT-half"')[1].split("</tr>")[0]
    assert '<a href="#sft_gap">sft_gap</a>' in row
    assert report.study("make reproduce") != report.study(COMMAND) == report.study(f"{COMMAND} quick --seed 3")


def test_wrong_versions_that_passed_are_shown_apart(written):
    _, _, text = written
    page = Page(text)
    start = page.cells.index("x 2") - 2
    assert page.cells[start : start + 4] == ["L2", "1 of 2", "x 2", "<x 3>"]
    assert page.classes[start + 3] == "fails"


def test_claims_are_data_in_natural_order_and_strict_json(written):
    root, _, _ = written

    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    claims = json.loads((root / "claims.json").read_text(), parse_constant=refuse)
    assert [item["id"] for item in claims] == ["L2", "L10", "N1", "E1"]
    assert all(tuple(item) == Claim._fields for item in claims)
    assert claims[2]["measured"] is None
    assert claims[3] == claim("E1", "differs", refuted=None, command=COMMAND)._asdict() | {"p_value": None}


def test_figures_are_stored_for_papers_and_inlined(written):
    root, _, text = written
    for name in ("sft_gap", "sft_curves"):
        assert (root / "figures" / f"{name}.pdf").read_bytes().startswith(b"%PDF")
        assert (root / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert f'id="{name}"' in text


def test_drawing_again_gives_the_same_bytes(written, tmp_path):
    root, _, text = written
    report.write_report(root)
    assert (root / "report.html").read_text() == text


def test_nothing_is_missing_from_full_results_but_other_experiments(written):
    _, missing, _ = written
    assert not {"Theorems", "Claims table", "Speed table", "Figure sft"} & {item.what for item in missing}


def refused(folder, *arguments):
    """What the command says of a folder that it refuses, which stays as it was."""
    command = [sys.executable, "-m", "figures", "--results", str(folder), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    return done.stderr.rstrip("\n")


def test_a_folder_that_is_not_there_is_refused_in_one_line_with_exit_code_2(tmp_path):
    absent = tmp_path / "absent"
    line = f"error: results: there is no folder {absent}; expected one that an experiment wrote to"
    assert refused(absent) == line
    assert list(tmp_path.iterdir()) == []


def old_result(root):
    """A result as format 2 stored it."""
    (root / "sft" / "0123").mkdir(parents=True)
    np.savez(root / "sft" / "0123" / "metrics.npz", gap=np.zeros(3))


@pytest.mark.parametrize(
    ("prepare", "preset", "message"),
    [
        (lambda root: None, None, "results: nothing is stored in "),
        (lambda root: (root / "theory").mkdir(), None, "results: nothing is stored in "),
        (lambda root: storage.write_text(root / "notes.txt", "mine"), None, "results: nothing is stored in "),
        (full_results, "fast", "preset: 'fast'; expected one of toy, quick, full, paper"),
        (full_results, "toy", "preset: no run of 'toy' is stored; expected one of None"),
        (old_result, None, "has format 2 or older; expected 3: run its experiment again"),
    ],
)
def test_empty_results_other_presets_and_other_versions_are_refused_and_nothing_is_written(
    tmp_path, prepare, preset, message
):
    prepare(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ValueError, match=re.escape(message)):
        report.write_report(tmp_path, preset)
    assert sorted(tmp_path.rglob("*")) == before
    storage.write_text(tmp_path / "a file", "")
    with pytest.raises(ValueError, match=r"results: .*a file is a file; expected one that an experiment wrote to"):
        report.write_report(tmp_path / "a file")


def test_what_has_not_been_run_is_named_with_its_command(tmp_path, capsys):
    write_rows(tmp_path / "theory" / "L2.json", [claim("L2")])
    assert runner.main(runner.FiguresConfig(results=tmp_path)) == 0
    page = Page((tmp_path / "report.html").read_text())
    for command in ("python -m experiments.speed", "python -m experiments.sft"):
        assert command in page.cells
    assert "python -m experiments.sft" in capsys.readouterr().out


def run_of(root, command, seed, verdict="holds"):
    """A stored run of the bandit study that found one thing."""
    regret = named(
        np.random.default_rng(seed).random((2, 1, 3, 2)), player=["a", "b"], distribution=["c"], seed=None, round=[1, 2]
    )
    path = storage.write_result(root, "bandit", {"seed": seed}, {"regret": regret}, command)
    write_claims(path, [claim("B", verdict)], command)


def test_a_toy_or_a_changed_run_changes_nothing_of_the_quick_report(tmp_path):
    run_of(tmp_path, "python -m experiments.bandit quick", 0)
    report.write_report(tmp_path)
    before = (tmp_path / "report.html").read_bytes()
    run_of(tmp_path, "python -m experiments.bandit toy", 1, "differs")
    run_of(tmp_path, "python -m experiments.bandit quick --seed 2", 2, "differs")
    report.write_report(tmp_path)
    assert (tmp_path / "report.html").read_bytes() == before
    page = Page(before.decode())
    assert page.cells[page.cells.index("bandit") + 1 : page.cells.index("bandit") + 3] == ["quick", "0"]
    report.write_report(tmp_path, "toy")
    assert "python -m experiments.bandit toy" in Page((tmp_path / "report.html").read_text()).cells


def test_the_largest_preset_is_shown_and_mixed_presets_are_marked(tmp_path):
    run_of(tmp_path, "python -m experiments.bandit paper", 0)
    run_of(tmp_path, "python -m experiments.bandit quick", 1, "differs")
    path = storage.write_result(tmp_path, "other", {"seed": 3}, {}, "python -m experiments.other quick")
    write_claims(path, [claim("O")], "python -m experiments.other quick")
    report.write_report(tmp_path)
    page = Page((tmp_path / "report.html").read_text())
    assert page.rows["row-B"][0] == "B paper"
    assert page.rows["row-B"][6] == "holds"
    assert page.rows["row-B"][-1].endswith("python -m experiments.bandit paper")
    assert page.rows["row-O"][0] == "O quick"


def test_a_changed_run_is_shown_as_such_where_there_is_no_other(tmp_path):
    run_of(tmp_path, "python -m experiments.bandit quick --seed 2", 2)
    report.write_report(tmp_path)
    page = Page((tmp_path / "report.html").read_text())
    assert page.cells[page.cells.index("bandit") + 1] == "quick, changed"


def theorem_run(root, ending, command, measured):
    """A stored run of one theorem's check."""
    write_rows(root / "theory" / f"L1{ending}", [claim("L1", measured=measured, command=command)])
    storage.write_json(root / "theory" / f"mutations{ending}", [{"id": "L1", "wrong": command, "rejected": True}])


def test_a_theorem_checked_with_other_samples_changes_nothing_of_the_report(tmp_path):
    whole, changed = "python -m theory L1", "python -m theory L1 --samples 10"
    theorem_run(tmp_path, ".samples-10.json", changed, 3.0)
    assert report.collect_claims(tmp_path, [])["L1"] == (claim("L1", measured=3.0, command=changed), "changed")
    assert report.collect_mutations(tmp_path) == [{"id": "L1", "rejected": [changed], "passed": []}]
    theorem_run(tmp_path, ".json", whole, 1.0)
    report.write_report(tmp_path)
    before = (tmp_path / "report.html").read_bytes()
    theorem_run(tmp_path, ".samples-10.json", changed, 2.0)
    report.write_report(tmp_path)
    assert (tmp_path / "report.html").read_bytes() == before
    assert report.collect_claims(tmp_path, [])["L1"] == (claim("L1", measured=1.0, command=whole), None)
    assert report.collect_mutations(tmp_path) == [{"id": "L1", "rejected": [whole], "passed": []}]


def test_a_figure_that_breaks_is_named_and_the_rest_is_drawn(tmp_path, monkeypatch):
    full_results(tmp_path)

    def broken(results):
        raise KeyError("gap")

    monkeypatch.setattr(sft, "draw", broken)
    assert runner.main(runner.FiguresConfig(results=tmp_path)) == 1
    text = (tmp_path / "report.html").read_text()
    assert "could not be drawn: KeyError" in text
    assert "&lt;L2&gt; is so" in text


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("theory/L1.json", "{", "L1.json cannot be read as JSON"),
        ("theory/L1.json", json.dumps({"id": "L1"}), "claim: 'L1' has no 'statement'"),
        (
            "theory/L1.json",
            json.dumps(claim("L1", "maybe")._asdict()),
            "verdict: 'maybe' of claim 'L1'; expected one of",
        ),
        ("speed.json", "[{}]", "speed.json is no speed table"),
        ("theory/mutations.json", "[{}]", "mutations.json is no table of mutations"),
    ],
)
def test_damaged_records_are_named(tmp_path, file, content, message):
    storage.write_text(tmp_path / file, content)
    with pytest.raises(ValueError, match=message):
        report.write_report(tmp_path)


def test_of_two_results_with_the_same_claim_the_newer_one_counts(tmp_path):
    for seed, verdict in enumerate(["holds", "differs"]):
        path = storage.write_result(tmp_path, "sft", {"seed": seed}, {}, COMMAND)
        write_claims(path, [claim("E1", verdict)], COMMAND)
    shown = selection.chosen(selection.stored_results(tmp_path))
    assert [item.verdict for item, _ in report.collect_claims(tmp_path, shown).values()] == ["differs"]


def test_sft_figure_shows_what_is_stored(tmp_path):
    synthetic_sft(tmp_path)
    stored = storage.read_results(tmp_path, "sft")[0].metrics["gap"].isel(setting=0)
    drawn = {item.name: item for item in sft.draw(storage.read_results(tmp_path, "sft"))}
    (panel,) = drawn["sft_gap"].figure.axes
    assert panel.get_title() == "POMDP"
    assert [line.get_label() for line in panel.lines] == stored["agent"].values.tolist()
    for line in panel.lines:
        np.testing.assert_array_equal(line.get_xdata(), stored["demonstrations"])
        expected = stored.sel(agent=line.get_label()).mean("seed")
        np.testing.assert_allclose(np.asarray(line.get_ydata()), expected)
    assert [axes.get_title() for axes in drawn["sft_curves"].figure.axes] == ["pretrain", "sft"]
    assert "POMDP: SFT, " in drawn["sft_gap"].caption
    assert sft.draw([]) == []


def synthetic_theory(root):
    rng, x, runs = np.random.default_rng(0), 2.0 ** np.arange(3, 8), 40
    for id, axis, power in (("L5-M", "context", -1), ("L5-N", "length", -2)):
        errors = 3 * x[:, None] ** power * np.exp(0.05 * rng.normal(size=(5, runs)))
        exact = named(3 * x**power, **{axis: x})
        local = {} if id == "L5-M" else {"local": named(-np.ones((2, 3)), condition=[1.0, 8.0], ratio=[0.5, 1.0, 2.0])}
        store_curves(root, id, errors=named(errors, **{axis: x, "run": None}), exact=exact, **local)
    terms = {"length": [1, 8], "context": x, "run": None}
    estimation = named(np.broadcast_to(1 / np.sqrt(x)[:, None], (2, 5, 5)), **terms)
    bounded = {"gap": named(np.full((2, 5, 5), 0.25), **terms), "estimation": estimation}
    bounded["bias"] = named(np.ones((2, 5)), length=[1, 8], run=None)
    bounded["bound"] = named(np.broadcast_to(np.sqrt(1 + 1 / x)[:, None], (2, 5, 5)), **terms)
    store_curves(root, "L6b", **bounded)
    store_curves(root, "L7b", **bounded, squares=named(np.zeros((5, 5)), context=x, run=None))
    matrices, features = np.stack([np.eye(3), 2 * np.eye(3)]), {"features": ["a", "b"]}
    excess = named(np.full((2, 5, 4), 1e-3), **features, seed=None, step=range(1, 5))
    trained = named(np.stack([matrices] * 5, axis=1), **features, seed=None, row=None, column=None)
    store_curves(root, "L7", excess=excess, trained=trained, closed=named(matrices, **features, row=None, column=None))
    errors = [[1.0, 0.0], [4.0, 0.0]]
    store_curves(root, "L8a", errors=named(errors, scale=[1.0, 2.0], estimator=["layer", "least squares"]))
    store_curves(root, "L8b", factors=named([2.0, 0.5, 1.0], mdp=None))
    lengths, scales = [4, 16], [1.0, 2.0]
    store_curves(
        root,
        "L8c",
        softmax_alone=named(np.full((5, 5), 0.1), context=x, seed=None),
        softmax=named(np.full((2, 5, 5), 0.5), length=lengths, context=x, seed=None),
        linear=named(np.full((2, 5), 0.25), length=lengths, context=x),
        softmax_limit=named(np.stack([np.full(5, 0.75), np.ones(5)]), length=lengths, seed=None),
        softmax_scaled=named(np.ones((2, 5)), scale=scales, seed=None),
        linear_scaled=named(np.ones(2), scale=scales),
    )
    norms, labels = np.stack([np.ones((5, 4)), np.full((5, 4), 6.0)]), ["Q*", "optimal actions"]
    store_curves(
        root,
        "L8d",
        norms=named(norms, label=labels, seed=None, step=range(1, 5)),
        trained=named(np.ones((2, 5, 3, 3)), label=labels, seed=None, row=None, column=None),
        closed=named(np.eye(3), row=None, column=None),
    )
    ways, rounds = ["drift, from 0", "drift, from twice"], range(1, 5)
    gain = named(np.full((2, 2, 4), -0.5), kind=["measured", "stated"], run=ways, round=rounds)
    worst = named([[1.0, 27.0], [1.0, 1.5]], decay=["fixed", "by hand"], length=[25, 1600])
    store_curves(root, "N5", gain=gain, worst=worst)
    rules, quantities = ["p = 0.25", "p = 0.75", "weights"], ["measured", "standard error", "stated"]
    selections = {"selection": ["squared regret", "p = 0.75", "p = 0.25"], "start": [0.0, 2.0], "round": range(4)}
    run = named(np.broadcast_to(np.asarray([1.0, 1.25, 9.0])[:, None, None], (3, 2, 4)), **selections)
    move = named(np.full((3, 3, 3), 1e-3), quantity=quantities, gain=[0.0, -0.1, -0.2], rule=rules)
    store_curves(root, "N12", run=run, move=move)
    arms = {"arms": [2, 5], "run": None}
    share = named(np.asarray([[0.25, 0.75], [0.1, 0.3]]), **arms)
    store_curves(root, "N13", regret=named(np.full((2, 2, 4), 0.5), **arms, round=None), share=share)


def test_theory_figures_show_what_is_stored(tmp_path):
    synthetic_theory(tmp_path)
    drawn = {item.name: item for item in theory.draw(storage.read_results(tmp_path, "theory"))}
    names = ("rates", "two_terms", "trained_play", "preconditioner", "shift", "on_policy", "softmax", "actions")
    names += ("no_regret",)
    assert list(drawn) == [f"theory_{name}" for name in names]
    for id, slope in (("L5-M", -1), ("L5-N", -2)):
        result = by_id(tmp_path)[id]
        errors = result.metrics["errors"]
        mean, error, (low, high) = theory.fitted(errors, str(errors.dims[0]))
        assert low < slope < high
        assert abs(mean - slope) <= 5 * error
        np.testing.assert_allclose(high - low, 10 * error)
    left = drawn["theory_two_terms"].figure.axes[0]
    bound = {line.get_label(): line.get_ydata() for line in left.lines}["bound"]
    np.testing.assert_allclose(np.asarray(bound), np.sqrt(1 + 1 / 2.0 ** np.arange(3, 8)))
    assert "between 4.0 and 4 times the loss" in drawn["theory_two_terms"].caption
    shown = [float(text.get_text()) for text in drawn["theory_preconditioner"].figure.axes[0].texts]
    assert shown == np.eye(3).ravel().tolist()
    assert "4 at c = 2" in drawn["theory_shift"].caption
    assert "the extremes are 0.50 and 2.00" in drawn["theory_on_policy"].caption
    assert "0.75 and 1 where it was 0.5 and 0.5" in drawn["theory_softmax"].caption
    assert "6.0 times that of the exact form against 1.0" in drawn["theory_actions"].caption
    assert "27 sqrt T at T = 1600" in drawn["theory_no_regret"].caption
    assert "to 1.00 a* with squared regret and 1.25 a* with p = 0.75" in drawn["theory_no_regret"].caption
    np.testing.assert_allclose(np.asarray(drawn["theory_no_regret"].figure.axes[3].lines[1].get_xdata()), [0.5, 1.5])
    assert theory.draw([]) == []


def by_id(root):
    return {result.config["id"]: result for result in storage.read_results(root, "theory")}


def test_settings_stand_side_by_side_and_axes_where_they_apply(tmp_path):
    synthetic_sft(tmp_path, settings=("apomdp", "mdp"), axes=("models", "horizon_steps", "tasks", "labels"))
    items = {item.name: item for item in sft.draw(storage.read_results(tmp_path, "sft"))}
    drawn = {name: item.figure for name, item in items.items()}
    assert [axes.get_title() for axes in drawn["sft_gap"].axes] == ["MDP", "ambiguous POMDP"]
    labels = [axes.get_xlabel() for axes in drawn["sft_axes"].axes]
    assert labels == ["horizon, equal steps", "models, for a pessimist", "training tasks"]  # and no empty panel
    assert [len(axes.lines) for axes in drawn["sft_axes"].axes] == [3, 3, 1]
    stored = storage.read_results(tmp_path, "sft")[0].metrics["axis_models"]
    gain = (stored.sel(agent="ICL-only") - stored.sel(agent="SFT")).mean("seed")
    np.testing.assert_allclose(np.asarray(drawn["sft_gain"].axes[1].lines[0].get_ydata()), gain)
    assert [axes.get_xlabel() for axes in drawn["sft_labels"].axes] == ["labelled sequences N"]
    texts = [text.get_text() for text in drawn["sft_imitation"].axes[0].texts]
    assert texts == ["0.90", "0.20", "0.10", "0.80"]
    below = drawn["sft_learnt"].axes[2]
    assert len(below.lines) == 4
    assert all(np.size(line.get_xdata()) == 2 for line in below.lines)
    assert "untrained 0.10" in items["sft_learnt"].caption


def test_a_single_seed_has_no_band_and_every_panel_with_means_says_so(tmp_path):
    synthetic_sft(tmp_path, seeds=1, axes=("horizon_steps", "slip"))
    drawn = {item.name: item for item in sft.draw(storage.read_results(tmp_path, "sft"))}
    for name in ("sft_gap", "sft_axes", "sft_learnt", "sft_curves"):
        for axes in drawn[name].figure.axes:
            assert [text.get_text() for text in axes.texts].count(style.SINGLE) == 1, name
            bands = [band.get_paths() for band in axes.collections]
            assert not any(np.isfinite(path.vertices).all() for paths in bands for path in paths), name
    assert "[" not in drawn["sft_gap"].caption
    drawn["sft_learnt"].figure.savefig(tmp_path / "drawn.png")


def test_seed_interval_is_students(tmp_path):
    mean, low, high = style.seed_interval([[1.0, 2.0, 3.0]])
    assert mean == [2.0]
    half = 4.302652729911275 / np.sqrt(3)  # t_{0.975} with 2 degrees of freedom, times sd 1 / sqrt 3
    np.testing.assert_allclose([low[0], high[0]], [2 - half, 2 + half])
    mean, low, high = style.seed_interval([[5.0]])
    assert mean == [5.0]
    assert np.isnan([low, high]).all()
    samples = np.random.default_rng(0).normal(size=(4000, 5))
    _, low, high = style.seed_interval(samples)
    covered = np.mean((low <= 0) & (high >= 0))
    assert abs(covered - 0.95) <= 5 * np.sqrt(0.95 * 0.05 / 4000)


def test_numbers_and_phrases():
    shown = [report.number(x) for x in (None, -0.00012341, 3, 2.0e-7)]
    assert shown == [DASH, f"{MINUS}0.0001234", "3", f"2e{MINUS}07"]
    assert [style.listed("abc"[:n]) for n in range(4)] == ["nothing", "a", "a and b", "a, b and c"]
    assert len(style.PALETTE) == len(set(style.PALETTE)) == len(style.MARKERS)


def test_figures_stand_alone(tmp_path):
    """The command draws without importing jax, and gives damaged records one clean line."""
    script = (
        "import sys, runpy; sys.argv = ['figures', '--results', sys.argv[1]]\n"
        "try: runpy.run_module('figures', run_name='__main__')\n"
        "finally: assert not {'jax', 'flax', 'optax'} & set(sys.modules), 'jax was imported'"
    )
    write_rows(tmp_path / "theory" / "L2.json", [claim("L2")])
    arguments = [sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(arguments, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "report.html").exists()
    storage.write_text(tmp_path / "speed.json", "{")
    done = subprocess.run(arguments, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 2
    assert "error: path:" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("name", "page", "text"), [("report", 6.9, 8), ("neurips", 5.5, 6.5), ("slides", 12.0, 14)])
def test_a_figure_is_as_wide_as_the_text_it_stands_in(name, page, text):
    with matplotlib.rc_context(style.settings(name)):
        figure, axes = style.panels(3, width=style.PAGE, height=2.0)
    assert isinstance(figure, Figure)
    np.testing.assert_allclose(figure.get_size_inches(), (page, 2.0 * text / 8))
    assert len(axes) == 3


def test_a_style_is_drawn_into_its_own_folder_with_its_fonts_embedded(tmp_path):
    synthetic_sft(tmp_path)
    assert runner.main(runner.FiguresConfig(results=tmp_path, style="icml")) == 0
    assert not (tmp_path / "report.html").exists()
    found = (tmp_path / "figures" / "icml" / "sft_gap.pdf").read_bytes()
    box = re.search(rb"/MediaBox \[ ?0 0 ([\d.]+) ", found)
    assert box
    assert float(box[1]) == pytest.approx(6.75 * 72)
    assert b"/FontFile2" in found  # TrueType, inside the file
    assert b"/Type3" not in found
    with pytest.raises(ValueError, match="style: 'poster'; expected one of report, neurips, icml, slides"):
        report.write_figures(tmp_path, None, "poster")


@pytest.mark.parametrize("count", [1, 3, 5, 7, 13])
def test_no_panel_is_empty_and_none_lies_on_another(count):
    figure, panels = style.wrapped(count)
    figure.canvas.draw()
    assert len(figure.axes) == len(panels) == count
    boxes = [axes.get_position() for axes in panels]
    assert not any(one.overlaps(other) for place, one in enumerate(boxes) for other in boxes[:place])


def test_every_mean_has_its_seeds_behind_it_at_marks_or_at_the_end():
    values = np.random.default_rng(0).normal(size=(4, 3))
    _, (marked, smooth) = style.panels(2)
    style.line(marked, range(4), values, "marked", 0)
    style.line(smooth, range(4), values, "smooth", 9, marked=False)
    for axes, shown in ((marked, values), (smooth, values[-1:])):
        points = np.asarray(axes.collections[-1].get_offsets())
        np.testing.assert_allclose(points[:, 1], shown.ravel())
        np.testing.assert_allclose(np.asarray(axes.lines[0].get_ydata()), values.mean(axis=1))


def test_no_two_lines_of_a_figure_look_alike_in_colour_or_in_grey():
    marked = [style.look(order) for order in range(16)]
    assert len({(form["marker"], form["markerfacecolor"] == "white") for form in marked}) == 16
    many = [style.look(order) for order in range(32)]
    assert len({(form["color"], form["marker"], form["markerfacecolor"]) for form in many}) == 32
    assert len({(form["color"], form["linestyle"]) for form in (style.look(n, marked=False) for n in range(16))}) == 16
    assert len({style.look(order, marked=False)["linestyle"] for order in range(8)}) == 8


def test_the_profile_of_tasks_is_the_gap_task_by_task(tmp_path):
    synthetic_sft(tmp_path)
    (result,) = storage.read_results(tmp_path, "sft")
    (panel,) = {item.name: item for item in sft.draw([result])}["sft_tasks"].figure.axes
    ranked = np.asarray(panel.lines[0].get_ydata())
    assert panel.lines[0].get_label() == "SFT"
    assert np.all(np.diff(ranked) >= 0)
    gap = result.metrics["gap"].sel(agent="SFT", demonstrations=2).mean()
    np.testing.assert_allclose(ranked.mean(), gap)

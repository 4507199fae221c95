"""The Python of the READMEs runs as it stands, and gives the numbers that it promises; what they name exists.

Their tables of results are what `experiments/summary.json` says.
"""

import re
from pathlib import Path

import numpy as np
import pytest

from figures import readme

ROOT = Path(__file__).parent.parent


PAGES = ("README.md", "jaxdm/README.md", "experiments/README.md", "figures/README.md", "theory/README.md")


def run(page):
    """The names that the blocks of a page leave behind."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    names: dict = {}
    for block in blocks:
        exec(compile(block, page, "exec"), names)
    return blocks, names


def promised(blocks, printed):
    for number in re.findall(r"#.*?\b(\d+\.\d{6,})", "\n".join(blocks)):
        assert number in printed, f"the page promises {number}, and prints {printed}"


def test_the_blocks_of_the_first_page_run_and_training_lowers_regret(capsys):
    blocks, names = run("README.md")
    promised(blocks, capsys.readouterr().out)
    losses = np.asarray(names["fit"].losses)
    assert np.all(losses[:, -5:].mean(axis=1) < losses[:, :5].mean(axis=1))
    assert names["played"].cumulative_regret.shape == (20,)


def test_the_blocks_of_the_library_run_in_order(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # one of them writes a file
    blocks, names = run("jaxdm/README.md")
    printed = capsys.readouterr().out
    assert len(blocks) >= 4
    assert "(1000, 20)" in printed
    promised(blocks, printed)
    assert names["episode"].reward.shape == (10,)


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_names_exists(page):
    text = (ROOT / page).read_text()
    for path in re.findall(r"`((?:jaxdm|theory|experiments|figures|tests)/[\w/.]*)`", text):
        assert (ROOT / path).exists(), path
    for link in re.findall(r"\]\(([^):#]+)\)", text):
        assert ((ROOT / page).parent / link).exists(), link
    for module in re.findall(r"python -m ((?:jaxdm|theory|experiments|figures|tests)[a-z.]*)", text):
        place = ROOT / module.strip(".").replace(".", "/")
        assert place.is_dir() or place.with_suffix(".py").exists(), module


def test_the_folders_of_the_first_page_exist():
    tree = (ROOT / "README.md").read_text().split("## Find your way")[1]
    folders = re.findall(r"^    ([a-z/ ]+?)  ", tree, re.MULTILINE)
    assert len(folders) == 8
    for words in folders:
        parents = words.split()
        for path in (parents[0], *(f"jaxdm/{other}" for other in parents[1:])):
            assert (ROOT / path).is_dir(), path


def test_the_tables_of_results_are_what_is_stored():
    assert readme.main(readme.ReadmeConfig(check=True)) == 0
    for page in readme.PAGES:
        assert readme.MARK.search(page.read_text())


def summary(**changes):
    row = {"id": "N2", "statement": "`|l_t| <= 1`", "measured": 0.5, "low": 0.4, "high": 0.61234, "target": "<= 1"}
    row |= {"verdict": "holds", "rank": "", "command": "python -m theory N2"}
    sentence = {"text": "so", "verdict": "holds", "preview": False, "number": "share", "rows": ["N2"], "command": "c"}
    return {"runs": [], "rows": [row | changes], "sentences": {"theorems": [sentence | changes]}}


PAGE = "before\n<!-- summary: theorems -->\nold\n<!-- summary: end -->\nafter\n"


def test_a_marked_part_is_made_anew_and_all_else_stays():
    page = readme.filled(PAGE, summary())
    assert page.startswith("before\n")
    assert page.endswith("\nafter\n")
    assert "\nold\n" not in page
    assert "| so | holds | 0.5 [0.4, 0.612]: share | nothing |" in page
    assert readme.filled(page, summary()) == page
    assert "differs: N2" in readme.filled(PAGE, summary(verdict="differs"))
    assert readme.filled(page, summary(measured=0.51)) != page
    with pytest.raises(ValueError, match="summary: 'paper-3'; expected rows or one of theorems"):
        readme.filled(PAGE.replace("theorems", "paper-3"), summary())


def test_bars_do_not_end_a_cell_and_folders_of_results_are_left_out():
    assert "`\\|l_t\\| <= 1`" in readme.filled(PAGE.replace("theorems", "rows"), summary())
    assert readme.anywhere("python -m experiments.sft quick --results /some/where --seed 3").endswith("quick --seed 3")


def test_summary_name_no_place_of_a_machine():
    assert "--results" not in readme.SUMMARY.read_text()

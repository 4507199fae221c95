"""Formulas become the MathML that they mean, and every one that the project writes can be read."""

import ast
import xml.etree.ElementTree as xml
from pathlib import Path

import pytest

from figures import mathematics, questions

ROOT = Path(mathematics.__file__).parent.parent


def tree(formula):
    """What a formula becomes, as nested lists: a tag, then its children, or its text."""

    def plain(element):
        inside = [plain(child) for child in element if child.tag != "mspace"]
        return [element.tag, *(inside or [element.text])]

    return plain(xml.fromstring(mathematics.mathml(formula)))


def row(*items):
    return ["mrow", *items]


X, TWO = ["mi", "x"], ["mn", "2"]


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("x", [X]),
        ("2 x", [TWO, X]),
        ("x_2", [["msub", X, row(TWO)]]),
        ("x^-2", [["msup", X, row(["mo", "\N{MINUS SIGN}"], TWO)]]),
        ("x_h^2", [["msubsup", X, row(["mi", "h"]), row(TWO)]]),
        ("x^2_h", [["msubsup", X, row(["mi", "h"]), row(TWO)]]),
        ("x_{2,x}", [["msub", X, row(TWO, ["mo", ","], X)]]),
        ("x^(2 / x)", [["msup", X, row(TWO, ["mo", "/"], X)]]),
        ("V*", [["msup", ["mi", "V"], row(["mo", "\N{ASTERISK OPERATOR}"])]]),
        ("x * 2", [X, ["mo", "\N{MIDDLE DOT}"], TWO]),
        ("x'", [["msup", X, row(["mo", "\N{PRIME}"])]]),
        ("x_hat_2", [["msub", ["mover", X, ["mo", "^"]], row(TWO)]]),
        ("sqrt(x)", [["msqrt", X]]),
        ("sqrt x_2", [["msqrt", ["msub", X, row(TWO)]]]),
        ("(x)^2", [["msup", row(["mo", "("], X, ["mo", ")"]), row(TWO)]]),
        ("eta <= Gamma", [["mi", "\N{GREEK SMALL LETTER ETA}"], ["mo", "\N{LESS-THAN OR EQUAL TO}"], ["mi", "\u0393"]]),
        ("sum_h x", [["msub", ["mo", "\N{N-ARY SUMMATION}"], row(["mi", "h"])], X]),
        ("Regret < 2", [["mi", "Regret"], ["mo", "<"], TWO]),
        ("1e-05", [["msup", ["mn", "10"], ["mn", "\N{MINUS SIGN}5"]]]),
    ],
)
def test_a_formula_is_typeset(formula, expected):
    assert tree(formula) == ["math", *expected]


@pytest.mark.parametrize("formula", ["(x", "x)", "x_", "x^ 2", "sqrt", "[x)"])
def test_a_formula_that_cannot_be_read_stays_as_it_was_written(formula):
    assert mathematics.mathml(formula) == f"<code>{formula}</code>"


def test_only_what_stands_between_backticks_is_typeset_and_all_else_is_escaped():
    found = str(mathematics.markup("x < 2 & `x < 2`"))
    assert found.startswith("x &lt; 2 &amp; <math")
    assert "<mo>&lt;</mo>" in found
    assert mathematics.markup("a lone ` is a <backtick>") == "a lone ` is a &lt;backtick&gt;"


def written_formulas():
    """Every formula of a theorem's statement, and of the questions."""
    found = []
    for path in (ROOT / "theory").rglob("[a-z][0-9]*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and "\n" not in node.value:
                found += node.value.split("`")[1::2]
    for part in questions.PARTS:
        found += [formula for question in part.questions for _, formula in question.formulas]
        texts = [sentence.text for sentence in part.sentences] + [question.text for question in part.questions]
        found += [formula for text in texts for formula in text.split("`")[1::2]]
    return found


def test_every_formula_that_the_project_writes_can_be_read():
    formulas = written_formulas()
    assert len(formulas) > 30
    assert [formula for formula in formulas if mathematics.mathml(formula).startswith("<code>")] == []

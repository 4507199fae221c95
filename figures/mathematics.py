"""Mathematics as the claims write it, between backticks, becomes MathML: browsers typeset it without network or script.

    `E[V* - V] <= sqrt(2) sum_h sqrt(C_h (est_h / M + bias_h))`

The notation is what a terminal shows and Markdown sets as code, so that one statement serves all. A script follows `_`
or `^`: one name or number, with its sign, or a group in parentheses or braces, which are dropped. A star or prime that
touches what it marks is a superscript. `sqrt` takes a group or one name. Greek letters and operators have their English
names, `x_hat` has a hat, words of several letters are upright. A slash stays a slash, so that nothing has to be guessed
about what it divides.
"""

import re
import unicodedata

from markupsafe import Markup, escape

TOKEN = re.compile(r"\s+|\d+(?:\.\d+)?(?:e[+-]?\d+)?|[A-Za-z]+|<=|>=|!=|->|.")


GREEK = ("alpha", "beta", "gamma", "delta", "epsilon", "eta", "theta", "kappa", "mu", "nu", "pi", "rho", "sigma", "tau")


CAPITALS = ("Gamma", "Delta", "Sigma", "Pi")


LETTERS = (
    {name: unicodedata.lookup(f"GREEK SMALL LETTER {name}") for name in (*GREEK, "phi", "psi", "xi", "omega")}
    | {name: unicodedata.lookup(f"GREEK CAPITAL LETTER {name}") for name in CAPITALS}
    | {"lambda": "\N{GREEK SMALL LETTER LAMDA}", "Lambda": "\N{GREEK CAPITAL LETTER LAMDA}", "infinity": "\N{INFINITY}"}
)


OPERATORS = {
    "<=": "\N{LESS-THAN OR EQUAL TO}",
    ">=": "\N{GREATER-THAN OR EQUAL TO}",
    "!=": "\N{NOT EQUAL TO}",
    "->": "\N{RIGHTWARDS ARROW}",
    "-": "\N{MINUS SIGN}",
    "*": "\N{MIDDLE DOT}",
    "in": "\N{ELEMENT OF}",
    "sum": "\N{N-ARY SUMMATION}",
    "prod": "\N{N-ARY PRODUCT}",
    "grad": "\N{NABLA}",
    "~": "\N{TILDE OPERATOR}",
}


PAIRS = {"(": ")", "[": "]", "{": "}"}


def markup(text: str) -> Markup:
    """A sentence as HTML, what stands between backticks as MathML; all else is escaped.

    A formula that cannot be read, such as one with parentheses that do not close, stays as it was written, as code.
    """
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return Markup(escape(text))
    return Markup("").join(mathml(part) if place % 2 else escape(part) for place, part in enumerate(parts))


def mathml(formula: str, display: str = "inline") -> Markup:
    """A formula as MathML, or as code where it cannot be read.

    Args:
        formula: in the notation of this module.
        display: "inline", or "block" for a line of its own.
    """
    tokens = TOKEN.findall(formula.strip())
    try:
        inside = _row(tokens, until=None)
    except ValueError:
        return Markup("<code>{}</code>").format(formula)
    return Markup('<math display="{}">{}</math>').format(display, Markup(inside))


def _row(tokens: list[str], until: str | None) -> str:
    """Items up to a closing bracket, which is consumed.

    Raises:
        ValueError: it does not come.
    """
    found, spaced = [], False
    while tokens:
        if tokens[0] == until:
            tokens.pop(0)
            return "".join(found)
        if tokens[0].isspace():
            tokens.pop(0)
            spaced = bool(found)
            continue
        item = _scripted(tokens)
        if spaced and not item.startswith("<mo") and not found[-1].startswith("<mo"):
            found.append('<mspace width=".2em"></mspace>')
        found.append(item)
        spaced = False
    if until is not None:
        raise ValueError(f"formula: it ends without {until!r}")
    return "".join(found)


def _scripted(tokens: list[str]) -> str:
    """An atom with its scripts."""
    word = tokens[0]
    base, below, above = _atom(tokens), "", ""
    while tokens:
        marked = word not in OPERATORS and word not in "+=,;:<>|/"
        if tokens[0] == "_":
            tokens.pop(0)
            if tokens[:1] == ["hat"]:
                tokens.pop(0)
                base = f'<mover accent="true">{base}<mo>^</mo></mover>'
            else:
                below += _script(tokens)
        elif tokens[0] == "^":
            tokens.pop(0)
            above += _script(tokens)
        elif tokens[0] in "*'" and marked:
            sign = "\N{ASTERISK OPERATOR}" if tokens.pop(0) == "*" else "\N{PRIME}"
            above += f"<mo>{sign}</mo>"
        else:
            break
    if below and above:
        return f"<msubsup>{base}{_grouped(below)}{_grouped(above)}</msubsup>"
    if below or above:
        name = "msub" if below else "msup"
        return f"<{name}>{base}{_grouped(below or above)}</{name}>"
    return base


def _script(tokens: list[str]) -> str:
    """What is raised or lowered: a group without its brackets, or one atom with its sign.

    Raises:
        ValueError: there is none.
    """
    if tokens and tokens[0] in "({":
        return _row(tokens, PAIRS[tokens.pop(0)])
    sign = "<mo>\N{MINUS SIGN}</mo>" if tokens[:1] == ["-"] else ""
    if sign:
        tokens.pop(0)
    if not tokens or tokens[0].isspace():
        raise ValueError("formula: a script is missing")
    return sign + _atom(tokens)


def _atom(tokens: list[str]) -> str:
    """A number, a name, a root, a bracketed group or an operator.

    Raises:
        ValueError: a bracket closes that was not open.
    """
    token = tokens.pop(0)
    if token == "sqrt":
        while tokens and tokens[0].isspace():
            tokens.pop(0)
        if not tokens:
            raise ValueError("formula: a root of nothing")
        inside = _row(tokens, PAIRS[tokens.pop(0)]) if tokens[0] == "(" else _scripted(tokens)
        return f"<msqrt>{inside}</msqrt>"
    if token in PAIRS:
        inside = _row(tokens, PAIRS[token])
        return f'<mrow><mo stretchy="false">{token}</mo>{inside}<mo stretchy="false">{PAIRS[token]}</mo></mrow>'
    if token in PAIRS.values():
        raise ValueError(f"formula: {token!r} closes nothing")
    if token[0].isdigit():
        return _number(token)
    if token in LETTERS:
        return f"<mi>{LETTERS[token]}</mi>"
    if token.isalpha() and token not in OPERATORS:
        return f"<mi>{token}</mi>"
    form = ' stretchy="false"' if token == "|" else ""
    return f"<mo{form}>{escape(OPERATORS.get(token, token))}</mo>"


def _number(token: str) -> str:
    """A number; `1e-05` has a power of ten."""
    digits, _, power = token.partition("e")
    if not power:
        return f"<mn>{digits}</mn>"
    exponent = f"{int(power)}".replace("-", "\N{MINUS SIGN}")
    ten = f"<msup><mn>10</mn><mn>{exponent}</mn></msup>"
    return ten if digits == "1" else f"<mrow><mn>{digits}</mn><mo>\N{MULTIPLICATION SIGN}</mo>{ten}</mrow>"


def _grouped(inside: str) -> str:
    return f"<mrow>{inside}</mrow>"

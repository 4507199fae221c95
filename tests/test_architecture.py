"""The house rules that a machine can check: reading order, one-way imports, and records built by keyword."""

import ast
import functools
import re
from pathlib import Path

import pytest

import jaxdm

ROOT = Path(jaxdm.__file__).parent.parent
PACKAGE = ROOT / "jaxdm"
MODULES = [path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py"]
SOURCES = [path for top in ("jaxdm", "theory", "experiments", "figures") for path in (ROOT / top).rglob("*.py")]


def reading_order() -> list[str]:
    return re.findall(r"^    ([a-z0-9_.]+) {2,}\S", jaxdm.__doc__ or "", re.MULTILINE)


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


def imported_modules(path: Path) -> set[str]:
    """Every `jaxdm` module that a file imports, itself or through a package's face, without the leading `jaxdm.`."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module or ""}
    known = {dotted(module) for module in MODULES}
    found = {name.removeprefix("jaxdm.") for name in names if name.removeprefix("jaxdm.") in known}
    faces = {ROOT.joinpath(*name.split("."), "__init__.py") for name in names if name.startswith("jaxdm.")} - {path}
    return found.union(*(imported_modules(face) for face in faces if face.exists()))


def test_reading_order_names_every_module_once():
    order = reading_order()
    assert len(order) == len(set(order))
    assert set(order) == {dotted(path) for path in MODULES}


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_a_module_imports_only_modules_above_it(path):
    order = reading_order()
    above = set(order[: order.index(dotted(path))])
    assert imported_modules(path) <= above


@functools.cache
def classes(path: Path) -> dict[str, bool]:
    """Classes defined in a file, and whether each is a NamedTuple."""
    found = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ClassDef)]
    return {node.name: "NamedTuple" in {getattr(base, "id", None) for base in node.bases} for node in found}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_records_are_built_by_keyword(path):
    elsewhere = {name for source in SOURCES if source != path for name, record in classes(source).items() if record}
    here = classes(path)
    records = {name for name, record in here.items() if record} | (elsewhere - set(here))
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", getattr(node.func, "attr", None))
            assert not (name in records and node.args), f"{name} built by position at line {node.lineno}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_rooms_import_only_what_they_may(path):
    top = path.relative_to(ROOT).parts[0]
    forbidden = {
        "jaxdm": {"theory", "experiments", "figures", "tests"},
        "theory": {"experiments", "figures", "tests"},
        "experiments": {"theory", "figures", "tests"},
        "figures": {"theory", "experiments", "tests", "jax", "flax", "optax"},
    }[top]
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, (ast.Import, ast.ImportFrom)) else []
        modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else names
        for module in modules:
            assert module.split(".")[0] not in forbidden, f"{path}: imports {module}"
            assert top != "figures" or not module.startswith("jaxdm.") or module.startswith("jaxdm.analysis")


def test_no_module_is_a_drawer():
    assert not {path.stem for path in SOURCES} & {"utils", "util", "common", "misc", "helpers"}

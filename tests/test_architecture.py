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
    faces = {ROOT.joinpath(*name.split("."), "__init__.py") for name in names if name.startswith("jaxdm.")}
    within = {parent / "__init__.py" for parent in path.parents}  # a package's own modules may name it
    return found.union(*(imported_modules(face) for face in faces - within if face.exists()))


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


STUDIES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in (ROOT / "experiments").rglob("*.py")
}


@functools.cache
def floor(module: str) -> int:
    """How many imports inside `experiments/` follow each other below a module, at most."""
    names = set()
    for node in ast.walk(ast.parse(STUDIES[module].read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module or ""}
    empty = {name for name in names & set(STUDIES) if STUDIES[name].name == "__init__.py"}
    return max((1 + floor(name) for name in (names & set(STUDIES)) - empty - {module}), default=0)


def test_studies_import_at_most_three_floors_deep():
    assert not {name: floor(name) for name in STUDIES if floor(name) > 3}


def test_few_functions_of_the_studies_take_a_whole_configuration():
    configurations = {name for path in STUDIES.values() for name in classes(path) if name.endswith("Config")} | {
        "Study"
    }
    whole = set()
    for module, path in STUDIES.items():
        if module == "experiments.cli":  # whose configurations are any command's
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.FunctionDef, ast.Lambda)):
                arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                annotations = " ".join(ast.unparse(one.annotation) for one in arguments if one.annotation)
                names = {one.arg for one in arguments}
                if configurations & set(re.findall(r"\w+", annotations)) or names & {"config", "study"}:
                    whole.add(f"{module}.{getattr(node, 'name', node.lineno)}")
    assert len(whole) <= 15, sorted(whole)


def test_no_two_modules_have_a_class_of_the_same_name():
    where: dict[str, list[str]] = {}
    for path in SOURCES:
        for name in classes(path):
            where.setdefault(name, []).append(str(path.relative_to(ROOT)))
    assert not {name: paths for name, paths in where.items() if len(paths) > 1}


FORBIDDEN = {
    *("rival", "rivals", "lesson", "lessons", "teacher", "teachers", "moody", "mood", "moods", "bright", "wanderer"),
    *("contrarian", "knowing", "needy", "speck", "tally", "tallies", "sharpness", "loudness", "course", "courses"),
    *("arena", "contest", "contests", "judged", "findings"),
}
"""Words that have a term of the field in their place."""


def identifiers(path: Path) -> set[str]:
    """Every name that a file defines or uses, of modules, functions, classes, arguments, variables and fields."""
    names = {path.stem}
    for node in ast.walk(ast.parse(path.read_text())):
        found = (getattr(node, field, None) for field in ("id", "name", "arg", "attr", "asname"))
        names |= {name for name in found if isinstance(name, str)}
    return names


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_names_are_the_field_s_terms(path):
    parts = {name: {part.lower() for part in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)} for name in identifiers(path)}
    assert not {name for name, words in parts.items() if words & FORBIDDEN or "in_pieces" in name}


@pytest.mark.parametrize(
    "face", list(PACKAGE.rglob("__init__.py")), ids=lambda path: str(path.parent.relative_to(ROOT))
)
def test_every_package_of_the_library_says_what_it_exports(face):
    body = ast.parse(face.read_text()).body
    assert face.parent == PACKAGE or any(
        "__all__" in ast.unparse(node) for node in body if isinstance(node, ast.Assign)
    )

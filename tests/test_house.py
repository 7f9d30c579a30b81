"""The house: tests beside every module, names of one meaning, types that are real."""

import ast
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "tvjax"
MODULES = [
    file.relative_to(PACKAGE)
    for file in sorted(PACKAGE.rglob("*.py"))
    if file.name != "__init__.py"
]

# What several modules provide under one name, because one contract asks for it.
PROTOCOLS = {
    "solvers": {"init", "step", "image", "State"},
    "io": {"create_sink", "describe", "output_files", "read"},
}


def definitions(module):
    """The classes and the public functions that a module defines."""
    for node in ast.parse((PACKAGE / module).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield node.name


def annotations(module):
    """Every annotation in a module, with its line."""
    for node in ast.walk(ast.parse((PACKAGE / module).read_text(encoding="utf-8"))):
        if isinstance(node, ast.arg) and node.annotation:
            yield node.annotation
        elif isinstance(node, ast.FunctionDef) and node.returns:
            yield node.returns
        elif isinstance(node, ast.AnnAssign):
            yield node.annotation


def test_few_modules_lie_loose():
    loose = {module.stem for module in MODULES if len(module.parts) == 1}
    assert len(loose) <= 8, sorted(loose)


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_every_module_has_a_test_file_of_its_own_path(module):
    mirror = ROOT / "tests" / module.with_name(f"test_{module.name}")
    assert mirror.exists(), f"write {mirror.relative_to(ROOT)}"
    tests = ast.parse(mirror.read_text(encoding="utf-8")).body
    assert any(getattr(node, "name", "").startswith("test_") for node in tests)


def test_every_test_file_has_a_module_or_a_reason():
    # what several rooms do together, or what is no module
    together = {
        *("test_house", "test_layering", "test_docs", "test_docs_commands"),
        *("test_docstrings", "test_measured_scans", "test_measured_stacks"),
        *("test_measured_patterns", "test_measured_files", "test_contract"),
        *("test_channels",),
    }
    for file in sorted((ROOT / "tests").rglob("test_*.py")):
        place = file.relative_to(ROOT / "tests")
        if place.parts[0] == "experiments" or file.stem in together:
            continue
        module = PACKAGE / place.with_name(place.name.removeprefix("test_"))
        assert module.exists(), f"{place} tests no module: move its tests"


def test_names_have_one_meaning():
    places = defaultdict(list)
    for module in MODULES:
        for name in definitions(module):
            if name not in PROTOCOLS.get(module.parts[0], ()):
                places[name].append(str(module))
    double = {name: found for name, found in places.items() if len(found) > 1}
    assert not double


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_no_annotation_hides_a_class(module):
    hidden = [
        annotation.lineno
        for annotation in annotations(module)
        for node in ast.walk(annotation)
        if isinstance(node, ast.Name) and node.id == "object"
    ]
    assert not hidden, f"`object` in lines {hidden}: name the class"


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_a_module_opens_with_what_it_is(module):
    text = ast.get_docstring(ast.parse((PACKAGE / module).read_text(encoding="utf-8")))
    assert text, "say in a noun phrase what the module holds"
    first = text.splitlines()[0]
    assert first.endswith("."), f"open with a noun phrase, not with: {first}"

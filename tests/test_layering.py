"""Imports run one way; what is heavy is imported in few places."""

import ast
import os
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "tvjax"

# What each module or folder may import of the package. A new one has to say.
ALLOWED = {
    "arguments": set(),
    "operators": {"arguments"},
    "readable": set(),
    "noise": {"arguments", "readable"},
    "result": {"noise", "readable"},
    "filters": set(),
    "metrics": set(),
    "diagnostics": set(),
    "settings": set(),
    "simulate": {"arguments"},
    "xanes": {"arguments"},
    "registration": {"arguments"},
    "io": set(),
    "networks": {"io"},
    "solvers": {"arguments", "operators"},
    "risk": {"arguments", "filters", "noise"},
    "denoisers": {"arguments", "networks", "operators", "risk", "solvers"},
    "tuning": {
        *("arguments", "denoisers", "filters", "noise", "operators", "risk"),
        "solvers",
    },
    "frames": {
        *("arguments", "denoisers", "filters", "noise", "operators", "result"),
        *("risk", "solvers", "tuning"),
    },
    "stack": {
        *("arguments", "denoisers", "filters", "noise", "operators", "result"),
        *("risk", "tuning"),
    },
    "symmetry": {
        *("arguments", "denoisers", "filters", "noise", "operators", "result"),
        *("risk", "solvers", "tuning"),
    },
    "learning": {"arguments", "io", "networks", "symmetry"},
    "plot": {"diagnostics"},
    "pipeline": {
        *("frames", "io", "learning", "noise", "registration", "result", "settings"),
        *("simulate", "stack", "symmetry", "xanes"),
    },
    "report": {
        *("diagnostics", "io", "metrics", "noise", "pipeline", "plot", "simulate"),
        *("stack", "symmetry"),
    },
    "cli": {"pipeline", "report", "io", "simulate", "settings"},
    "__init__": set(),  # every room, but only when it is asked for
}

IMPORTERS = {
    "optax": {"tuning", "learning"},
    "safetensors": {"networks"},
    "matplotlib": {"plot"},
    "h5py": {"io"},
    "hdf5plugin": {"io"},
    "fabio": {"io"},
    "tifffile": {"io"},
    "typer": {"cli"},
    "rich": {"cli"},
}


def module_name(file):
    return ".".join(("tvjax", *file.relative_to(PACKAGE).with_suffix("").parts))


def room(module):
    """The top-level module or folder that a module lies in."""
    return module.split(".")[1]


def imports(file):
    """Full names of what a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} has a relative import"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in MODULES else node.module


def resolve(name):
    """The module of the package that an import loads."""
    while name not in MODULES and name != "tvjax":
        name = name.rpartition(".")[0]
    return f"{name}.__init__" if f"{name}.__init__" in MODULES else name


FILES = {module_name(file): file for file in sorted(PACKAGE.rglob("*.py"))}
MODULES = {*FILES, *(name.removesuffix(".__init__") for name in FILES)}
IMPORTS = {name: set(imports(file)) for name, file in FILES.items()}
OWN = {
    name: {resolve(other) for other in found if other.split(".")[0] == "tvjax"}
    for name, found in IMPORTS.items()
}


@pytest.mark.parametrize("module", FILES)
def test_imports_point_down(module):
    here = room(module)
    assert here in ALLOWED, f"say in ALLOWED what tvjax.{here} may import"
    beside = {room(other) for other in OWN[module]} - {here}
    back = beside - ALLOWED[here]
    assert not back, f"{module} must not import {sorted(back)}"


def test_what_may_be_imported_has_no_cycle():
    TopologicalSorter(ALLOWED).prepare()
    assert {room(module) for module in FILES} == set(ALLOWED)


def test_modules_have_no_cycle():
    # the front of a folder gathers its modules, which import each other directly
    graph = {
        module: {other for other in found if other != f"{module}.__init__"}
        for module, found in OWN.items()
    }
    TopologicalSorter(graph).prepare()


@pytest.mark.parametrize("library", IMPORTERS)
def test_a_heavy_library_has_few_importers(library):
    importers = {
        room(module)
        for module, found in IMPORTS.items()
        if any(name.split(".")[0] == library for name in found)
    }
    assert importers == IMPORTERS[library]


HEAVY = ["jax", "numpy", "h5py", "hdf5plugin", "fabio", "tifffile", "matplotlib"]


def loaded(script, **environment):
    """Which heavy libraries a script has loaded at its end."""
    ending = f"\nimport sys; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", script + ending],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        cwd=PACKAGE.parent,
    )
    assert done.returncode == 0, done.stderr
    return ast.literal_eval(done.stdout.splitlines()[-1])


def test_the_package_alone_loads_nothing_heavy():
    assert loaded("import tvjax; tvjax.__all__; dir(tvjax)") == []


def test_the_denoisers_load_no_files_and_no_pictures_and_touch_no_device():
    # a platform that does not exist fails as soon as a device is asked for
    script = "import tvjax; tvjax.denoise, tvjax.denoise_stack, tvjax.denoise_symmetric"
    assert loaded(script, JAX_PLATFORMS="nonexistent") == ["jax", "numpy"]


def test_all_names_of_the_fronts_can_be_had():
    script = """
import importlib
for room in ("", ".io", ".pipeline", ".report", ".plot"):
    front = importlib.import_module("tvjax" + room)
    for name in front.__all__:
        getattr(front, name)
"""
    assert "jax" in loaded(script)

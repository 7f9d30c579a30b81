import inspect
import os
import shutil
import tempfile
from pathlib import Path

# Programs of tests run once or twice: most of XLA's optimizations cost more than they
# save. Without any, a frame of 6 megapixels takes twice as long.
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "")
    + " --xla_backend_optimization_level=1 --xla_llvm_disable_expensive_passes=true"
)

import jax
import jaxtyping
import numpy as np
import pytest

import tests.typechecking  # noqa: F401, the hook finds it there

# before the package is imported: every call is checked against its annotations
jaxtyping.install_import_hook("tvjax", "tests.typechecking.check")

# A process may hold 65,530 memory maps, and each compiled program takes a few: when all
# are used up, the next compilation ends the process.
MOST_MAPS = 30_000
REAL_DATA = Path(__file__).parents[1] / "../shared/data"


def pytest_configure(config):
    """Let what one process compiles serve all: workers, commands and experiments.

    A folder that TVJAX_TEST_CACHE names is kept: the next run need not compile.
    """
    if not hasattr(config, "workerinput"):  # the workers inherit its environment
        folder = os.environ.get("TVJAX_TEST_CACHE")
        if folder is None:
            folder = tempfile.mkdtemp(prefix="tvjax-tests-")
            config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
        os.environ["XDG_CACHE_HOME"] = folder
        os.environ["JAX_COMPILATION_CACHE_DIR"] = f"{folder}/tvjax"
        os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"
    jax.config.update(
        "jax_compilation_cache_dir", f"{os.environ['XDG_CACHE_HOME']}/tvjax"
    )
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of measured files, which are not part of the project."""
    folder = Path(os.environ.get("TVJAX_DATA", REAL_DATA)).resolve()
    if not folder.is_dir():
        pytest.skip(f"the measured files are not in {folder}: set TVJAX_DATA")
    return folder


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    """Both precisions, each in JAX's mode for it."""
    with jax.enable_x64(request.param == "float64"):
        yield np.dtype(request.param)


@pytest.fixture
def double():
    """JAX's mode for double precision."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(autouse=True)
def checked(request):
    """Check what a test calls, unless it misuses a function to read its sentence."""
    misused = "pytest.raises" in inspect.getsource(request.function)
    jaxtyping.config.update("jaxtyping_disable", misused)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(autouse=True, scope="module")
def room_for_programs():
    """Drop what was compiled when a file is done, if it is much."""
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and maps.read_bytes().count(b"\n") > MOST_MAPS:
        jax.clear_caches()

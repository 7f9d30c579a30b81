import shlex

import h5py
import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

from tests.io.images import save_cbf, save_edf
from tests.pipeline.stand_ins import Halve, Truncate
from tvjax import pipeline
from tvjax.cli import app
from tvjax.pipeline import denoise_files, denoise_stack_files, inspect_files
from tvjax.settings import StackSettings

COUNTS = np.random.default_rng(0).poisson(5.0, (3, 20, 30)).astype(np.int32)


def hdf5(path, data=COUNTS, name="entry/data/data"):
    with h5py.File(path, "w") as file:
        file[name] = data
    return str(path)


def several(folder, save, names, data=COUNTS):
    for name, image in zip(names, data, strict=False):
        save(folder / name, image)


def cbf_pattern(folder):
    several(folder, save_cbf, ["a_1.cbf", "a_2.cbf", "a_4.cbf"])
    return str(folder / "a_*.cbf")


def cbf_digits(folder):
    several(folder, save_cbf, ["a_01.cbf", "a_02.cbf", "a_04.cbf"])
    return str(folder / "a_0[12].cbf")


def cbf_files(folder):
    several(folder, save_cbf, ["a_01.cbf", "a_02.cbf", "a_04.cbf"])
    return [str(folder / "a_01.cbf"), str(folder / "a_02.cbf")]


def edf(folder):
    return [str(save_edf(folder / "a_1.edf", COUNTS[0]))]


def edf_pattern(folder):
    several(folder, save_edf, ["a_1.edf", "a_2.edf"], COUNTS.astype(np.float32))
    return str(folder / "a_#.edf")


def pages(folder):
    data = COUNTS.astype(np.float32)
    tifffile.imwrite(folder / "a.tiff", data, photometric="minisblack")
    return str(folder / "a.tiff")


def cxi(folder):
    return hdf5(folder / "run 5.cxi", name="entry_1/data_1/data")


def nexus(folder):
    return hdf5(folder / "a.nxs")


def cube(folder):
    return hdf5(folder / "a.h5", COUNTS.astype(np.float32), "cube")


WAYS = [cbf_pattern, cbf_digits, cbf_files, edf, edf_pattern, pages, cxi, nexus, cube]


def commands(facts):
    """The commands that facts name, as words."""
    texts = [str(fact) for fact in facts.values()]
    return [shlex.split(text)[1:] for text in texts if text.startswith("tvjax ")]


def run(words, folder, monkeypatch):
    monkeypatch.chdir(folder)
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert (folder / words[words.index("-o") + 1]).parent.is_dir()


@pytest.fixture
def stand_ins(monkeypatch):
    """The algorithms stand in: what may fail is the command."""
    monkeypatch.setattr(
        pipeline,
        "denoise_files",
        lambda *a, **k: denoise_files(*a, **k, denoise=Halve()),
    )
    monkeypatch.setattr(
        pipeline,
        "denoise_stack_files",
        lambda *a, **k: denoise_stack_files(*a, **k, fit=Truncate(1)),
    )


@pytest.mark.usefixtures("stand_ins")
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_every_command_that_is_suggested_runs(tmp_path, monkeypatch, way):
    (tmp_path / "raw").mkdir()
    (tmp_path / "out").mkdir()
    facts = inspect_files(way(tmp_path / "raw"), StackSettings())
    found = commands(facts)
    assert len(found) == (1 if way is edf else 2)
    for words in found:
        run(words, tmp_path / "out", monkeypatch)


def test_the_numbers_and_the_format_of_the_input_stay(tmp_path, monkeypatch):
    (words, _) = commands(inspect_files(cbf_pattern(tmp_path), StackSettings()))
    assert words[-1] == "clean/a_#####.cbf"
    (words, _) = commands(inspect_files(edf_pattern(tmp_path), StackSettings()))
    assert words[-1] == "clean/a.h5"
    (words,) = commands(inspect_files(edf(tmp_path), StackSettings()))
    assert words[-1] == "clean/a_1.h5"


def test_a_range_that_was_asked_for_is_part_of_the_command(tmp_path):
    facts = inspect_files(nexus(tmp_path), StackSettings(), frames="0:2")
    assert facts["next"].endswith("--frames 0:2")


@pytest.mark.usefixtures("stand_ins")
@pytest.mark.real
@pytest.mark.slow
def test_commands_that_are_suggested_run_on_measured_files(data, tmp_path, monkeypatch):
    """Every file of images in the folder, and two series."""
    patterns = ["lcysteine_i19_pilatus2m/l-cyst_01_#####.cbf.bz2"]
    patterns += ["thaumatin_i24_pilatus6m/*.cbf.bz2"]
    suffixes = (
        ".h5",
        ".hdf5",
        ".nxs",
        ".tif",
        ".tiff",
        ".cbf",
        ".img",
        ".kcd",
        ".mccd",
    )
    files = [
        path
        for path in sorted(data.rglob("*"))
        if path.name.removesuffix(".gz").removesuffix(".bz2").endswith(suffixes)
        and path.parent.name not in ("lcysteine_i19_pilatus2m", "images")
    ]
    failed, number = [], 0
    monkeypatch.chdir(tmp_path)
    for source in [*map(str, files), *(str(data / text) for text in patterns)]:
        told = CliRunner().invoke(app, ["info", source])
        if told.exit_code:
            # one of several stacks: the sentence names the choices
            assert "--dataset" in told.output, told.output
            told = CliRunner().invoke(app, ["info", source, "--dataset", "/sample"])
        lines = [text.partition("tvjax ")[2] for text in told.output.splitlines()]
        for line in filter(lambda text: text.split()[:1] != [], lines):
            words = shlex.split(line)
            if words[0] not in ("denoise", "stack"):
                continue
            number += 1
            done = CliRunner().invoke(app, words)
            if done.exit_code:
                failed.append((line, done.output))
            for written in [*tmp_path.glob("clean*"), *tmp_path.glob("clean/*")]:
                if written.is_file():
                    written.unlink()
    assert number > len(files) / 2 and not failed

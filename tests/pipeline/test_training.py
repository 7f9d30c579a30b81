import json
import re
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from tests.io.rivals import rounds
from tests.pipeline.stand_ins import MASKED, save_frames
from tvjax.io import FileError
from tvjax.io.staging import Claim
from tvjax.learning import CountNetwork
from tvjax.pipeline import train_on_files, training
from tvjax.pipeline.symmetry import load_weights
from tvjax.settings import TrainingSettings

CENTRE = 19.5, 24.5
LOG = tuple(
    {"step": step, "held_out": loss}
    for step, loss in ((0, 1.0), (50, 0.25), (100, 0.5))
)


@pytest.fixture(scope="module")
def frames():
    """Counts of rings about a centre."""
    y, x = np.indices((40, 50))
    rings = 20 + 10 * np.cos(np.hypot(y - CENTRE[0], x - CENTRE[1]) / 3)
    counts = np.random.default_rng(0).poisson(rings, (4, 40, 50)).astype(np.uint32)
    counts[:, 10:12] = MASKED
    return counts


@pytest.fixture
def source(tmp_path, frames):
    return save_frames(tmp_path / "raw.h5", frames)


@pytest.fixture
def trained(monkeypatch):
    """Let a stand-in train, and return what it is asked."""
    calls = []
    network = CountNetwork((4, 6), (1, 1), key=jax.random.key(1))

    def train(series, *, checkpoint, progress, **options):
        calls.append({"series": series, **options})
        checkpoint.write_text("so far")
        for record in LOG:
            progress(record)
        return SimpleNamespace(network=network, log=LOG)

    monkeypatch.setattr(training, "train", train)
    return SimpleNamespace(calls=calls, network=network)


PREPARE = """
from types import SimpleNamespace
import jax
from tvjax.learning import CountNetwork
from tvjax.pipeline import train_on_files, training
from tests.pipeline.test_training import LOG, settings

network = CountNetwork((4, 6), (1, 1), key=jax.random.key(own))

def train(series, *, checkpoint, progress, **options):
    checkpoint.write_text(str(own))
    time.sleep(0.05)
    assert checkpoint.read_text() == str(own)
    return SimpleNamespace(network=network, log=LOG)

training.train = train
"""


@pytest.mark.slow
def test_of_two_trainings_to_one_file_one_wins_whole(source, tmp_path):
    folder = tmp_path / "rounds"
    folder.mkdir()
    write = (
        f"train_on_files({str(source)!r}, "
        "folder.parent / str(number) / 'w.safetensors', settings())"
    )
    for index, texts in rounds(folder, 20, PREPARE, write):
        (loser,) = [own for own, text in enumerate(texts) if text]
        assert re.search("being written by another run|exists: choose", texts[loser])
        output = tmp_path / str(index) / "w.safetensors"
        network = CountNetwork((4, 6), (1, 1), key=jax.random.key(1 - loser))
        found, expected = (
            jax.tree.leaves(each) for each in (load_weights(str(output)), network)
        )
        for one, other in zip(found, expected, strict=True):
            # half a unit of the last of 11 bits
            np.testing.assert_allclose(one, other, rtol=2**-11, atol=1e-7)
        assert [path.name for path in output.parent.iterdir()] == ["w.safetensors"]


def settings(**changes):
    return TrainingSettings(**{"group": "azimuthal", "centre": "19.5,24.5", **changes})


def test_weights_are_written_and_the_checkpoint_goes(source, frames, tmp_path, trained):
    told = []
    output = tmp_path / "new" / "w.safetensors"
    outcome = train_on_files(
        source,
        output,
        settings(num_steps=100, batch=4, frames="0:3"),
        progress=lambda done, total: told.append((done, total)),
    )
    leaves, expected = (
        jax.tree.leaves(network)
        for network in (load_weights(str(output)), trained.network)
    )
    for found, wanted in zip(leaves, expected, strict=True):
        # weights are kept in half precision
        np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-6)
    assert [file.name for file in output.parent.iterdir()] == ["w.safetensors"]
    assert told == [(0, 100), (50, 100), (100, 100)]
    (call,) = trained.calls
    series = call["series"]
    # of rings, the operations that put pixels on pixels
    assert series.group.name == "4mm" and series.centre == CENTRE
    mask = frames[:3] != MASKED
    np.testing.assert_array_equal(series.frames, np.where(mask, frames[:3], 0))
    np.testing.assert_array_equal(series.mask, mask[0])
    assert (call["num_steps"], call["batch"], call["start"]) == (100, 4, None)
    assert outcome.num_frames == 3


def test_the_outcome_tells_the_best_loss(source, tmp_path, trained):
    outcome = train_on_files(source, tmp_path / "w.safetensors", settings())
    report = outcome.report()
    for line in (
        f"input      {source} (HDF5, 4 x 40 x 50), 4 frames",
        "training   100 steps, best after 50",
        "held out   1 at first, 0.25 at best: the loss on pixels of frames not "
        "learned from",
    ):
        assert line in report.splitlines()
    values = json.loads(json.dumps(outcome.asdict()))
    assert values["log"] == list(LOG) and values["num_frames"] == 4
    assert values["symmetry"]["group"] == "azimuthal"


def test_weights_to_train_further_are_read_before(source, tmp_path, trained):
    with pytest.raises(FileError, match="start.safetensors does not exist"):
        train_on_files(
            source,
            tmp_path / "w.safetensors",
            settings(start=str(tmp_path / "start.safetensors")),
        )
    assert not trained.calls


def test_an_output_is_kept_unless_it_may_be_replaced(source, tmp_path, trained):
    output = tmp_path / "w.safetensors"
    output.write_bytes(b"precious")
    with pytest.raises(FileError, match="exists: choose another name or pass"):
        train_on_files(source, output, settings())
    assert output.read_bytes() == b"precious"
    train_on_files(source, output, settings(overwrite=True))
    assert load_weights(str(output)) is not None


def test_more_frames_than_fit_are_refused(source, tmp_path, trained, monkeypatch):
    monkeypatch.setattr(training, "MOST", 1000)
    with pytest.raises(FileError, match="a training holds no more than 1e-06 GB"):
        train_on_files(source, tmp_path / "w.safetensors", settings())


def test_what_cannot_be_written_gets_a_sentence(source, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(training, "train", full)
    with pytest.raises(FileError, match="No space left on device; free the disk"):
        train_on_files(source, tmp_path / "w.safetensors", settings())


def test_weights_that_ran_away_get_a_sentence(source, tmp_path, monkeypatch):
    def ran_away(*_, **__):
        raise FloatingPointError("the loss is not finite")

    monkeypatch.setattr(training, "train", ran_away)
    with pytest.raises(ValueError, match="the loss is not finite"):
        train_on_files(source, tmp_path / "w.safetensors", settings())
    assert not (tmp_path / "w.safetensors").exists()


def test_a_second_training_to_the_same_weights_is_refused(source, tmp_path, trained):
    output = tmp_path / "w.safetensors"
    with Claim(output), pytest.raises(FileError, match="written by another run: wait"):
        train_on_files(source, output, settings())
    assert not trained.calls
    train_on_files(source, output, settings())
    assert not list(tmp_path.glob(".*"))


def test_weights_never_take_the_place_of_the_input(source, tmp_path, trained):
    link = tmp_path / "w.safetensors"
    link.hardlink_to(source)
    for output in (source, link):
        with pytest.raises(FileError, match="is part of the input and would be lost"):
            train_on_files(source, output, settings(overwrite=True))

import json

import jax
import numpy as np
import pytest
from jax import numpy as jnp

from tests.learning.patterns import tiny
from tvjax import symmetry
from tvjax.io import open_series, save_series, series_of
from tvjax.learning import CountNetwork, save_counts
from tvjax.learning.checkpoint import save_checkpoint, TrainingState
from tvjax.pipeline import symmetry as patterns_by_symmetry, training

SHAPE, CENTRE = (48, 64), (23.5, 31.0)


@pytest.fixture(scope="module")
def truth():
    """An ellipse that is turned: a two-fold axis, and no mirror."""
    y, x = np.indices(SHAPE)
    y, x = y - CENTRE[0], x - CENTRE[1]
    u, v = y + 0.6 * x, x - 0.6 * y
    return 0.5 + 4 * np.exp(-(((np.hypot(u, 1.6 * v) - 18) / 5) ** 2))


@pytest.fixture(scope="module")
def patterns(truth, tmp_path_factory):
    counts = np.random.default_rng(0).poisson(truth, (4, *SHAPE)).astype(np.uint32)
    counts[:, 30:32] = 2**32 - 1
    file = tmp_path_factory.mktemp("patterns") / "series_master.h5"
    save_series(file, series_of(counts))
    return file


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    network = CountNetwork((4, 6), (1, 1), key=jax.random.key(0))
    file = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save_counts(network, file)
    return file


def read(file):
    with open_series(file) as series:
        frames = list(series.frames())
    data = np.stack([frame.data for frame in frames]).astype(float)
    return data, np.stack([frame.mask for frame in frames])


def test_patterns_are_denoised_by_the_symmetry_they_have(
    tvjax, patterns, truth, tmp_path
):
    clean, report = tmp_path / "clean.h5", tmp_path / "report"
    options = ("--group", "friedel", "--report", report, "--dtype", "float32")
    result = tvjax("symmetry", patterns, "-o", clean, *options)
    assert result.exit_code == 0, result.output
    assert "symmetry   friedel about (23.5" in result.stdout
    found, mask = read(clean)
    assert not mask[:, 30:32].any()
    raw, _ = read(patterns)
    errors = [np.mean((z - truth)[mask] ** 2) for z in (found, raw)]
    assert errors[0] < 0.15 * errors[1]
    numbers = json.loads((report / "report.json").read_text())
    assert numbers["summary"]["symmetry"]["group"] == "friedel"
    assert {"agreement.png", "profile.png", "residual.png"} <= {
        file.name for file in report.iterdir()
    }


@pytest.mark.slow
def test_a_network_is_trained_and_used(tvjax, patterns, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "MOST", 10**6)
    weights, clean = tmp_path / "w.safetensors", tmp_path / "clean.h5"
    centre = ("--group", "friedel", "--centre", "23.5,31")
    result = tvjax("train", patterns, "-o", weights, "--steps", 2, *centre)
    assert result.exit_code == 0, result.output
    assert "2 steps" in result.stdout and weights.exists()
    assert not (tmp_path / "w.checkpoint").exists()
    assert (tmp_path / "w.checkpoint.jsonl").read_text().count("\n") == 1
    result = tvjax("predict", patterns, "-o", clean, "--weights", weights, *centre)
    assert result.exit_code == 0, result.output
    found, mask = read(clean)
    raw, _ = read(patterns)
    # the total of a frame is kept
    assert found[mask].sum() / 16 == pytest.approx(raw[mask].sum(), rel=0.03)


def test_an_interrupted_training_says_how_to_go_on(
    tvjax, patterns, tmp_path, monkeypatch
):
    def interrupt(*_, checkpoint, **__):
        log = [{"step": 50.0}]
        zero, least = jnp.zeros((), "int32"), jnp.ones((), "float32")
        state = TrainingState(tiny(1), (), tiny(1), least, zero, zero)
        save_checkpoint(checkpoint, state, log, fingerprint={})
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "train", interrupt)
    output = tmp_path / "w.safetensors"
    train = "train", patterns, "-o", output, "--group", "friedel", "--centre", "23.5,31"
    result = tvjax(*train)
    assert result.exit_code == 130
    assert result.stderr == (
        f"tvjax: Interrupted: {output} was not written yet, 50 steps are kept, and the "
        "same command with --resume goes on.\n"
    )
    again = tvjax(*train)
    assert again.stderr.startswith(
        f"tvjax: An earlier training of {output} was not finished, and 50 steps of it "
        "are kept: --resume goes on from there"
    )


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["--group", "5"], 1, "`group` must be one of"),
        (["--centre", "far"], 2, "`centre` must be auto, file or Y,X"),
        (["--centre", "file"], 1, "does not tell the beam centre"),
        (["--centre", "500,2"], 1, "must lie in the image"),
        (["--group", "mirror-x", "--centre", "23.5,31"], 1, "the data refuse"),
        (["--method", "network"], 2, "`weights` belong to the network"),
        (["--average"], 2, "`average` belongs to the network"),
    ],
)
def test_misuse_gets_a_sentence(tvjax, patterns, tmp_path, arguments, code, sentence):
    result = tvjax("symmetry", patterns, "-o", tmp_path / "c.h5", *arguments)
    assert result.exit_code == code, result.output
    assert sentence in result.stderr
    assert not (tmp_path / "c.h5").exists()


def test_weights_that_are_none_get_a_sentence(tvjax, patterns, weights, tmp_path):
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(weights.read_bytes()[:100])
    for file in (cut, tmp_path / "missing.safetensors"):
        result = tvjax("predict", patterns, "-o", tmp_path / "c.h5", "--weights", file)
        assert result.exit_code == 1, result.output
        assert str(file) in result.stderr


def test_a_training_without_enough_gets_a_sentence(tvjax, patterns, tmp_path):
    output = tmp_path / "w.safetensors"
    result = tvjax("train", patterns, "-o", output, "--frames", "0:1")
    assert result.exit_code == 1
    assert "`frames` must be two at least" in result.stderr
    output.write_bytes(b"")
    result = tvjax("train", patterns, "-o", output)
    assert result.exit_code == 1 and "exists: choose another" in result.stderr


@pytest.mark.slow
def test_a_frame_that_is_not_like_the_others_is_denoised_by_itself(
    tvjax, patterns, tmp_path, monkeypatch
):
    known, seen = symmetry.denoise_symmetric, []

    def refuse(frame, **settings):
        seen.append(frame)
        if len(seen) > 3:
            raise symmetry.Refused("the data refuse it.")
        return known(frame, **settings)

    monkeypatch.setattr(patterns_by_symmetry, "denoise_symmetric", refuse)
    options = ("--group", "friedel", "--centre", "23.5,31")
    result = tvjax("symmetry", patterns, "-o", tmp_path / "clean.h5", *options)
    assert result.exit_code == 0, result.output
    assert "1 frames refuse the symmetry" in result.stdout
    one = tmp_path / "one.h5"
    result = tvjax("symmetry", patterns, "-o", one, "--frames", "3:4", *options)
    assert result.exit_code == 1 and "the data refuse it" in result.stderr
    assert not one.exists()

import functools
import json
import threading
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.pipeline.stand_ins import noisy, Truncate, write_density, write_references
from tvjax.io import FileError, open_stack, save_stack, stack_of
from tvjax.io.stack import Stack
from tvjax.pipeline import denoise_stack_files, stack as stacks
from tvjax.settings import SettingsError, StackSettings
from tvjax.simulate import count, draw_shifts, jitter, nickel_energies, xanes_stack

SHAPE, ENERGIES = (40, 44), 24


@pytest.fixture
def truncate():
    """A stand-in for the denoiser."""
    return Truncate()


@pytest.fixture
def denoise(truncate):
    """`denoise_stack_files` by that stand-in."""
    return functools.partial(denoise_stack_files, fit=truncate)


def read(path):
    with open_stack(path) as stack:
        return stack[:]


def test_every_frame_is_written_and_the_summary_says_how(tmp_path, scene, denoise):
    source = write_density(tmp_path / "raw.h5", scene)
    outcome = denoise(source, tmp_path / "clean.h5")
    after, before = read(tmp_path / "clean.h5"), noisy(scene.truth)
    assert np.mean((after - scene.truth) ** 2) < 0.3 * np.mean(
        (before - scene.truth) ** 2
    )
    assert (outcome.shape, len(outcome.residuals.deviations)) == (
        (ENERGIES, *SHAPE),
        ENERGIES,
    )
    for text in ("24 x 40 x 44", "8180 to 8562 eV", "3 of 24, chosen", "3 kept"):
        assert text in outcome.report()
    with h5py.File(tmp_path / "clean.h5") as file:
        process = file["entry/tvjax"]
        assert process["rank"][()] == 3
        assert process["spectra" if "spectra" in process else "sigma"].shape[-1] == 24
        settings = json.loads(process["settings"][()])
        assert settings["rank"] is None and settings["memory"] == 2 * 10**9
        np.testing.assert_array_equal(process["energies"], scene.energies)
    json.dumps(outcome.asdict())


def test_what_is_doubtful_about_a_file_is_passed_on(tmp_path, scene, denoise):
    source = write_density(tmp_path / "raw.h5", scene)
    with h5py.File(source, "r+") as file:
        file["entry/bad_pixel_mask"] = np.zeros(SHAPE, np.uint8)
    outcome = denoise(source, tmp_path / "clean.h5")
    assert any("/entry/bad_pixel_mask" in text for text in outcome.warnings)


def test_a_stack_is_read_frame_by_frame(tmp_path, scene, monkeypatch):
    """But for what the fit asks for, never more than a frame lies in memory."""
    source = write_density(tmp_path / "raw.h5", scene)
    sizes = []
    getitem = Stack.__getitem__

    def watched(stack, key):
        part = getitem(stack, key)
        sizes.append(part.size)
        return part

    fit = Truncate()

    def blind(stack, **options):
        found = fit(stack, **options)
        sizes.clear()
        return found

    monkeypatch.setattr(Stack, "__getitem__", watched)
    settings = StackSettings(map=str(tmp_path / "map.h5"))
    denoise_stack_files(source, tmp_path / "clean.h5", settings, fit=blind)
    assert max(sizes) <= SHAPE[0] * SHAPE[1]


def test_invalid_pixels_come_back_and_count_at_no_energy(
    tmp_path, scene, truncate, denoise
):
    data = noisy(scene.truth)
    data[5, 20, 21] = np.nan
    mask = np.ones(SHAPE, bool)
    mask[3] = False
    np.save(tmp_path / "mask.npy", mask)
    source = write_density(tmp_path / "raw.h5", scene, data)
    settings = StackSettings(mask=str(tmp_path / "mask.npy"))
    outcome = denoise(source, tmp_path / "clean.h5", settings)
    with h5py.File(tmp_path / "clean.h5") as file:
        after = file["entry/data/data"][()]
    np.testing.assert_array_equal(after[:, 3], data[:, 3])
    np.testing.assert_array_equal(after[:, 20, 21], data[:, 20, 21])
    mask[20, 21] = False
    np.testing.assert_array_equal(truncate.calls[0]["mask"], mask)
    assert np.isfinite(truncate.calls[0]["data"]).all()
    assert "1 pixels are invalid at some of the energies" in outcome.report()


def test_counts_become_optical_density(tmp_path, scene, truncate, denoise):
    counts = count(scene, photons=5000, dark=100, num_flats=1)
    save_stack(tmp_path / "raw.h5", stack_of(counts.sample, scene.energies))
    save_stack(tmp_path / "flat.h5", stack_of(counts.flat))
    save_stack(tmp_path / "dark.h5", stack_of(np.full((2, *SHAPE), 100.0)))
    settings = StackSettings(
        flat=str(tmp_path / "flat.h5"),
        dark=f"{tmp_path / 'dark.h5'}:/entry/data/data",
        noise="poisson:1",
        rank=3,
    )
    outcome = denoise(tmp_path / "raw.h5", tmp_path / "clean.h5", settings)
    after = read(tmp_path / "clean.h5")
    assert np.sqrt(np.mean((after - scene.truth) ** 2)) < 0.015
    (call,) = truncate.calls
    light = counts.flat - 100
    variance = 1 / light + np.exp(scene.truth) / light
    expected = np.sqrt(np.mean(variance, axis=(1, 2)))
    # whitened by what the counts say: the photons of 24 energies scatter by 1 %
    pixels = np.sqrt(np.mean(variance / expected[:, None, None] ** 2, axis=0))
    np.testing.assert_allclose(call["noise"].sigma, pixels, rtol=0.03)
    errors = call["data"].std(axis=(1, 2)) - (
        scene.truth / expected[:, None, None]
    ).std(axis=(1, 2))
    assert np.abs(errors).max() < 0.1 * np.abs(call["data"]).max()
    residual = (-np.log((counts.sample - 100) / light) - after) / expected[
        :, None, None
    ]
    assert residual.std() == pytest.approx(1, abs=0.1)
    assert "optical density" in outcome.report()
    with h5py.File(tmp_path / "clean.h5") as file:
        assert file["entry/data/data"].attrs["units"] == "optical density"


@pytest.mark.slow
def test_a_strong_absorber_is_denoised_by_its_own_noise(tmp_path, monkeypatch):
    """Behind four optical densities a photon in fifty is left."""
    scene = xanes_stack(
        (64, 64), energies=nickel_energies(ENERGIES), num_states=3, density=2.0
    )
    counts = count(scene, photons=400, num_flats=1)
    save_stack(tmp_path / "raw.h5", stack_of(counts.sample, scene.energies))
    save_stack(tmp_path / "flat.h5", stack_of(counts.flat))
    settings = StackSettings(
        flat=str(tmp_path / "flat.h5"), noise="poisson:1", overwrite=True
    )

    def error():
        denoise_stack_files(tmp_path / "raw.h5", tmp_path / "clean.h5", settings)
        return np.sqrt(np.mean((read(tmp_path / "clean.h5") - scene.truth) ** 2))

    by_pixel = error()
    estimate = stacks.density_noise

    def even(*arguments):
        noise = estimate(*arguments)
        return noise._replace(pixels=np.ones_like(noise.pixels))

    monkeypatch.setattr(stacks, "density_noise", even)
    # measured: 0.018 and 0.028
    assert by_pixel < 0.8 * error()


def test_maps_follow_the_truth(tmp_path, scene, denoise):
    source = write_density(tmp_path / "raw.h5", scene)
    settings = StackSettings(
        references=(write_references(tmp_path / "nickel.txt", scene),),
        map=str(tmp_path / "map.h5"),
    )
    outcome = denoise(source, tmp_path / "clean.h5", settings, compare=True)
    with h5py.File(tmp_path / "map.h5") as file:
        entry = file["entry"]
        valence = entry["valence/data"][()]
        assert list(entry["fractions/reference"].asstr()) == [
            "nickel 1",
            "nickel 2",
            "nickel 3",
        ]
        shares = entry["fractions/data"][()]
        assert {"edge_energy", "confidence", "residual", "phase"} < set(entry)
        assert entry["tvjax/edge"][()] == pytest.approx(8342, abs=2)
    thick = scene.thickness > 0.3
    error = np.abs(valence - scene.valence)[thick].mean()
    before = np.abs(outcome.chemistry_before.valence - scene.valence)[thick].mean()
    assert error < 0.1 and before < 0.1
    np.testing.assert_allclose(shares.sum(0)[thick], 1, rtol=1e-5)
    assert np.isnan(valence[scene.thickness == 0]).mean() > 0.9
    assert "mean valence" in outcome.report()


def test_an_edge_map_needs_no_references_and_energies_may_fall(
    tmp_path, scene, denoise
):
    falling = scene._replace(energies=scene.energies[::-1])
    source = write_density(tmp_path / "raw.h5", falling, noisy(scene.truth)[::-1])
    settings = StackSettings(map=str(tmp_path / "map.h5"))
    denoise(source, tmp_path / "clean.h5", settings)
    with h5py.File(tmp_path / "map.h5") as file:
        found = file["entry/edge_energy/data"][()]
        assert "fractions" not in file["entry"]
    thick = scene.thickness > 0.3
    assert np.corrcoef(found[thick], scene.valence[thick])[0, 1] > 0.9


@pytest.mark.slow
def test_jitter_is_undone_and_saved(tmp_path, scene):
    fit = Truncate(rank=8)
    shifts = np.round(draw_shifts(ENERGIES, 1.5))
    moved = noisy(jitter(scene, shifts).truth, 0.01)
    source = write_density(tmp_path / "raw.h5", scene, moved)
    settings = StackSettings(register=True, whole_pixels=True, rank=3)
    outcome = denoise_stack_files(source, tmp_path / "clean.h5", settings, fit=fit)
    assert outcome.components.rank == 3
    with h5py.File(tmp_path / "clean.h5") as file:
        found = file["entry/tvjax/shifts"][()]
        after = file["entry/data/data"][()]
    assert np.abs(found - shifts - (found - shifts).mean(0)).max() <= 1
    offset = np.round((found - shifts).mean(0)).astype(int)
    rested = np.roll(scene.truth, -offset, (1, 2))
    valid = outcome.mask
    before = np.sqrt(np.mean((moved - scene.truth)[:, valid] ** 2))
    assert np.sqrt(np.mean((after - rested)[:, valid] ** 2)) < 0.4 * before
    assert "shifts     rms 1." in outcome.report()


def test_noise_that_was_smoothed_is_told(tmp_path, scene, denoise):
    data = noisy(scene.truth, 0.1)
    source = write_density(tmp_path / "raw.h5", scene, data)
    white = denoise(source, tmp_path / "white.h5")
    assert abs(white.residuals.correlation) < 0.05
    assert "correlate by 0." not in "".join(white.warnings)
    data[:, :, 1:] = (data[:, :, 1:] + data[:, :, :-1]) / 2
    source = write_density(tmp_path / "smooth.h5", scene, data)
    smooth = denoise(source, tmp_path / "clean.h5")
    assert smooth.residuals.correlation == pytest.approx(0.5, abs=0.05)
    assert "neighbors in the residual correlate by 0." in smooth.report()


def test_a_dry_run_writes_nothing(tmp_path, scene, denoise):
    source = write_density(tmp_path / "raw.h5", scene)
    settings = StackSettings(map=str(tmp_path / "map.h5"))
    outcome = denoise(source, tmp_path / "c.h5", settings, dry_run=True)
    assert [path.name for path in tmp_path.iterdir()] == ["raw.h5"]
    assert outcome.chemistry is not None and outcome.residuals is None


# What is refused


def edited(scene, **changes):
    return scene._replace(**changes)


@pytest.mark.parametrize(
    ("frame", "value", "sentence"),
    [
        (7, np.nan, r"no valid value in frame 7 \(8\d+\.?\d* eV\): leave this energy"),
        (0, 0.0, r"zero everywhere in frame 0 \(8180 eV\), as where a shutter"),
    ],
)
def test_a_frame_that_holds_nothing(tmp_path, scene, denoise, frame, value, sentence):
    data = noisy(scene.truth)
    data[frame] = value
    source = write_density(tmp_path / "raw.h5", scene, data)
    refuse(denoise, source, tmp_path, sentence)


def refuse(denoise, source, tmp_path, sentence, error=FileError, **settings):
    before = sorted(tmp_path.iterdir()), Path(source).read_bytes()
    with pytest.raises(error, match=sentence):
        denoise(source, tmp_path / "clean.h5", StackSettings(**settings))
    assert (sorted(tmp_path.iterdir()), Path(source).read_bytes()) == before


def test_pixels_that_are_never_all_valid(tmp_path, scene, denoise):
    data = noisy(scene.truth)
    data[3, :20] = np.nan
    data[9, 20:] = np.nan
    source = write_density(tmp_path / "raw.h5", scene, data)
    refuse(denoise, source, tmp_path, "no pixel that is valid at all energies")


def test_a_mask_that_leaves_nothing_to_denoise(tmp_path, scene, denoise):
    source = write_density(tmp_path / "raw.h5", scene)
    np.save(tmp_path / "mask.npy", np.zeros(SHAPE, bool))
    refuse(denoise, source, tmp_path, "no valid pixel", mask=str(tmp_path / "mask.npy"))


def test_settings_that_the_stack_does_not_allow(tmp_path, scene, truncate, denoise):
    source = write_density(tmp_path / "raw.h5", scene)
    tell = {"rank": 25}
    refuse(
        denoise,
        source,
        tmp_path,
        "at most the 24 energies of .*, got 25",
        SettingsError,
        **tell,
    )
    small = {"register": True, "memory": 100_000}
    refuse(
        denoise, source, tmp_path, "too large to be registered in 0.0001 GB", **small
    )
    assert not truncate.calls
    missing = {"energies": "none", "map": str(tmp_path / "map.h5")}
    refuse(
        denoise, source, tmp_path, "tells no energies, and a map needs them", **missing
    )
    same = {"map": str(tmp_path / "clean.h5")}
    refuse(
        denoise, source, tmp_path, "`map` and output are both", SettingsError, **same
    )


def test_references_that_do_not_fit(tmp_path, scene, denoise):
    source = write_density(tmp_path / "raw.h5", scene)
    write_references(tmp_path / "short.txt", scene, scene.energies + 5)
    options = {"map": str(tmp_path / "map.h5")}
    short = {"references": (str(tmp_path / "short.txt"),)}
    sentence = "covers 8185 to 8567 eV, the stack 8180 to 8562 eV: name a reference"
    refuse(denoise, source, tmp_path, sentence, **options, **short)
    few = {"references": (f"{tmp_path / 'short.txt'}=2,3",)}
    sentence = "a valence for each of the 3 spectra in .*, got 2"
    refuse(denoise, source, tmp_path, sentence, SettingsError, **options, **few)
    odd = {"references": (f"{tmp_path / 'short.txt'}=two",)}
    refuse(
        denoise,
        source,
        tmp_path,
        "with =VALENCE where known",
        SettingsError,
        **options,
        **odd,
    )


def test_flats_of_another_shape(tmp_path, scene, denoise):
    source = write_density(tmp_path / "raw.h5", scene)
    save_stack(tmp_path / "flat.h5", stack_of(np.ones((3, 40, 43), np.float32)))
    refuse(
        denoise,
        source,
        tmp_path,
        "has the shape 3 x 40 x 43",
        flat=str(tmp_path / "flat.h5"),
    )


def test_counts_without_a_flat_have_no_edge(tmp_path, scene, denoise):
    source = write_density(tmp_path / "raw.h5", scene, noisy(np.exp(-scene.truth)))
    options = {"map": str(tmp_path / "map.h5")}
    refuse(denoise, source, tmp_path, "pass --flat", ValueError, **options)


def test_what_was_denoised_is_not_denoised_again(tmp_path, scene, denoise):
    source = write_density(tmp_path / "raw.h5", scene)
    denoise(source, tmp_path / "clean.h5")
    with pytest.raises(FileError, match="was denoised by tvjax .* or pass --force"):
        denoise(tmp_path / "clean.h5", tmp_path / "again.h5")
    forced = StackSettings(force=True)
    denoise(tmp_path / "clean.h5", tmp_path / "again.h5", forced)


@pytest.mark.parametrize("call", [1, 2, 20])
def test_an_interrupt_in_any_pass_leaves_nothing(tmp_path, scene, call):
    source = write_density(tmp_path / "raw.h5", scene)
    before = source.read_bytes()
    calls = []

    def progress(done, total):
        calls.append(done)
        if len(calls) == call:
            raise KeyboardInterrupt

    settings = StackSettings(
        register=True, whole_pixels=True, map=str(tmp_path / "map.h5")
    )
    with pytest.raises(KeyboardInterrupt):
        denoise_stack_files(
            source, tmp_path / "clean.h5", settings, fit=Truncate(), progress=progress
        )
    assert [path.name for path in tmp_path.iterdir()] == ["raw.h5"]
    assert source.read_bytes() == before


def test_an_interrupt_in_the_second_pass_of_the_denoiser_leaves_nothing(
    tmp_path, scene
):
    source = write_density(tmp_path / "raw.h5", scene)

    def progress(done, total):
        if done > 0.6 * total:
            raise KeyboardInterrupt

    settings = StackSettings(memory=200_000, map=str(tmp_path / "map.h5"))
    threads = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        denoise_stack_files(source, tmp_path / "clean.h5", settings, progress=progress)
    assert [path.name for path in tmp_path.iterdir()] == ["raw.h5"]
    assert threading.active_count() == threads


@pytest.mark.slow
def test_with_the_denoiser_itself(tmp_path, scene):
    source = write_density(tmp_path / "raw.h5", scene, noisy(scene.truth, 0.1))
    settings = StackSettings(
        rank=3,
        references=(write_references(tmp_path / "nickel.txt", scene),),
        map=str(tmp_path / "map.h5"),
    )
    outcome = denoise_stack_files(source, tmp_path / "clean.h5", settings, compare=True)
    error = np.mean((read(tmp_path / "clean.h5") - scene.truth) ** 2)
    assert error < 0.1 * 0.1**2
    thick = scene.thickness > 0.3
    after, before = (
        np.abs(chemistry.valence - scene.valence)[thick].mean()
        for chemistry in (outcome.chemistry, outcome.chemistry_before)
    )
    assert after < 0.7 * before

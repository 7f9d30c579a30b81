"""Stacks from real microscopes, from file to file with nothing set by hand."""

import h5py
import numpy as np
import pytest

import tvjax
from tvjax.io import open_series, open_stack, save_stack, stack_of
from tvjax.pipeline import denoise_stack_files
from tvjax.settings import StackSettings

pytestmark = pytest.mark.real


@pytest.mark.slow
def test_stxm_of_iron_with_its_own_references(data, tmp_path):
    stem = data / "stxm_fe_als/71214078"
    settings = StackSettings(
        flat=f"{stem}_i0.xsp",
        references=(f"{stem}_oxidized.r=3", f"{stem}_reduced.r=2"),
        map=str(tmp_path / "map.h5"),
        rank=6,
    )
    output = tmp_path / "clean.h5"
    outcome = denoise_stack_files(f"{stem}_aligned.h5", output, settings, compare=True)
    assert 0.8 < outcome.residuals.deviation < 1.1
    with h5py.File(tmp_path / "map.h5") as file:
        valence = file["entry/valence/data"][()]
    valid = np.isfinite(valence)
    assert 0.5 < valid.mean() < 0.8
    assert 2 - 1e-5 < valence[valid].min() <= valence[valid].max() < 3 + 1e-5
    before = outcome.chemistry_before
    both = valid & np.isfinite(before.valence)
    assert np.corrcoef(valence[both], before.valence[both])[0, 1] > 0.8


@pytest.mark.slow
def test_nxstxm_returns_as_nxstxm(data, tmp_path):
    (source,) = (data / "stxm_pollux_nxstxm").iterdir()
    outcome = denoise_stack_files(source, tmp_path / "clean.hdf5")
    assert outcome.components.rank <= 4
    with h5py.File(source) as before, h5py.File(tmp_path / "clean.hdf5") as after:
        names: list[str] = []
        before.visit(names.append)
        for name in names:
            assert after[name].attrs.keys() >= before[name].attrs.keys()
        old, new = before["entry1/counter0/data"], after["entry1/counter0/data"]
        assert new.shape == old.shape and new.chunks == (1, 50, 50)
        assert 0 < np.abs(new[()] - old[()]).mean() < np.sqrt(old[()].mean())
        np.testing.assert_array_equal(
            after["entry1/control/data"], before["entry1/control/data"]
        )
    with open_stack(tmp_path / "clean.hdf5") as stack:
        np.testing.assert_allclose(stack.energies, [280, 284.5, 285, 320])


def test_each_exposure_of_a_cathode_against_the_others(data):
    """Half of the squared error goes; the noise of the others is taken off."""
    source = data / "txm_nca_ssrl_ni/nca_ssrl_08324.0_eV.h5"
    with open_series(str(source), dataset="sample") as series:
        frames = np.stack([frame for frame, _ in series.read(0, 3)])
    exposures = frames[:, 256:512, 256:512].astype(np.float32)
    light = exposures.mean(axis=(1, 2))  # wavers by 3 %
    exposures *= (light.mean() / light)[:, None, None]
    errors = []
    for k, one in enumerate(exposures):
        first, second = np.delete(exposures, k, axis=0)
        noise = np.var(first - second) / 4
        errors.append(
            [
                np.mean((image - (first + second) / 2) ** 2) - noise
                for image in (one, np.asarray(tvjax.denoise(one).image))
            ]
        )
    before, after = np.sum(errors, axis=0)
    # measured: 0.49; of what is left a part is the sample's drift by 0.03 pixels
    assert after < 0.6 * before


@pytest.mark.slow
def test_a_published_map_of_iron_is_found_again(data, tmp_path):
    """Measured spectra in the amounts of a measured map; the noise alone is drawn."""
    folder = data / "nanoxanes_fe_hxn"
    library = np.loadtxt(folder / "FeLibNov2021.nor").T
    with open_series(str(folder / "chemical_map_LFP_model_sample.tiff")) as series:
        amounts = np.stack([page for page, _ in series.read(0, 2)]).astype(float)
    energies = np.loadtxt(folder / "energy_list_corr_LFP_model_sample.txt")
    energies = energies[(energies > library[0, 0]) & (energies < library[0, -1])]
    names = {"reduced.txt": 7, "oxidized.txt": 8}  # LiFe(II)PO4 and Fe(III)PO4
    for name, column in names.items():
        np.savetxt(tmp_path / name, library[[0, column]].T)
    spectra = [np.interp(energies, library[0], library[k]) for k in names.values()]
    truth = np.einsum("se,syx->eyx", spectra, amounts)
    noise = np.random.default_rng(0).normal(size=truth.shape)
    noisy = (truth + 0.2 * amounts.max() * noise).astype(np.float32)
    source = tmp_path / "raw.h5"
    save_stack(source, stack_of(noisy, energies, unit="optical density"))
    settings = StackSettings(
        references=(f"{tmp_path}/reduced.txt=2", f"{tmp_path}/oxidized.txt=3"),
        map=str(tmp_path / "map.h5"),
        rank=2,
    )
    outcome = denoise_stack_files(source, tmp_path / "clean.h5", settings, compare=True)
    total = amounts.sum(axis=0)
    valence = (2 * amounts[0] + 3 * amounts[1]) / np.maximum(total, 1e-9)
    with h5py.File(tmp_path / "map.h5") as file:
        found = file["entry/valence/data"][()]
    seen = (total > 0.3 * total.max()) & np.isfinite(found)
    error = np.abs(found - valence)[seen].mean()
    before = outcome.chemistry_before.valence
    both = seen & np.isfinite(before)
    # measured: 0.023, and 0.061 before
    assert error < 0.04
    assert error < 0.6 * np.abs(before - valence)[both].mean()

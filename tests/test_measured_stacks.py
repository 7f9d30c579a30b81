"""Stacks from real microscopes, from file to file with nothing set by hand."""

import h5py
import numpy as np
import pytest

from tvjax.io import open_stack
from tvjax.pipeline import denoise_stack_file
from tvjax.settings import StackSettings

pytestmark = pytest.mark.real


def test_stxm_of_iron_with_its_own_references(data, tmp_path):
    stem = data / "stxm_fe_als/71214078"
    settings = StackSettings(
        flat=f"{stem}_i0.xsp",
        references=(f"{stem}_oxidized.r=3", f"{stem}_reduced.r=2"),
        map=str(tmp_path / "map.h5"),
        rank=6,
    )
    output = tmp_path / "clean.h5"
    outcome = denoise_stack_file(f"{stem}_aligned.h5", output, settings, compare=True)
    assert 0.8 < outcome.residuals.deviation < 1.1
    with h5py.File(tmp_path / "map.h5") as file:
        valence = file["entry/valence/data"][()]
    valid = np.isfinite(valence)
    assert 0.5 < valid.mean() < 0.8
    assert 2 - 1e-5 < valence[valid].min() <= valence[valid].max() < 3 + 1e-5
    before = outcome.chemistry_before
    both = valid & np.isfinite(before.valence)
    assert np.corrcoef(valence[both], before.valence[both])[0, 1] > 0.8


def test_nxstxm_returns_as_nxstxm(data, tmp_path):
    (source,) = (data / "stxm_pollux_nxstxm").iterdir()
    outcome = denoise_stack_file(source, tmp_path / "clean.hdf5")
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

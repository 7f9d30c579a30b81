import json

import fabio
import h5py
import numpy as np
import pytest

from tests.io.masters import MASKED
from tests.io.rewriting import rewrite
from tvjax.io import Metadata, open_series, save_series, series_of


def test_fabio_counts_the_frames_of_a_clone(clean, counts):
    with fabio.open(str(clean)) as image:
        assert image.nframes == len(counts)
        expected = np.where(counts[4] == MASKED, MASKED, 16 * counts[4])
        np.testing.assert_array_equal(image.getframe(4).data, expected)


def test_the_scale_is_published(clean):
    with h5py.File(clean) as file:
        detector = file["entry/instrument/detector"]
        assert detector["data_scale_factor"][()] == 1 / 16
        assert detector["data_scaling_factor"][()] == 1 / 16


def test_other_formats_become_an_nxmx_master(cbf, tmp_path):
    rewrite(cbf[0], tmp_path / "new_master.h5")
    with h5py.File(tmp_path / "new_master.h5") as file:
        assert file["entry/definition"][()] == b"NXmx"
        link = file.get("entry/data/data_000001", getlink=True)
        assert link.filename == "new_data_000001.h5"
        detector = file["entry/instrument/detector"]
        np.testing.assert_array_equal(
            detector["pixel_mask"], fabio.open(str(cbf[0])).data < 0
        )
        assert detector["saturation_value"][()] == 16 * 388705
        assert file["entry/sample/goniometer/omega"][()] == [-145.0]
    with fabio.open(str(tmp_path / "new_master.h5")) as image:
        assert image.nframes == 1


def test_a_new_master_spreads_its_frames_over_data_files(tmp_path, monkeypatch, counts):
    monkeypatch.setattr("tvjax.io.hdf5.write_frames.FRAMES_PER_FILE", 3)
    series = series_of(counts, metadata=Metadata(start_angle=-10, angle_increment=0.5))
    output = tmp_path / "sim_master.h5"
    save_series(output, series)
    with open_series(output) as written:
        assert [each.num_frames for each in written.layout.datasets] == [3, 3, 1]
        assert written.denoised_by is None
        assert written.metadata.start_angle == -10
        frames = np.stack([frame.data for frame in written.frames()])
    np.testing.assert_array_equal(frames, counts)


def test_provenance_is_an_nxprocess_in_the_entry(clean):
    with h5py.File(clean) as file:
        process = file["entry/tvjax"]
        assert process.attrs["NX_class"] == "NXprocess"
        assert process["program"][()] == b"tvjax"
        assert process["version"][()] == b"0.1.0"
        assert process["sequence_index"][()] == 1
        assert json.loads(process["settings"][()])["alpha"] == "auto"
        assert json.loads(process["noise"][()])["model"] == "Poisson"
        assert process["inputs"][0] == b"scan_master.h5"
        np.testing.assert_array_equal(process["alpha"], [0.5] * 7)
        np.testing.assert_array_equal(process["gap"], [1e-4] * 7)
        assert process["scale"][()] == 16
        assert json.loads(process["tally"][()])["negative"] == 0


@pytest.mark.parametrize("name", ["clean_master.h5", "clean_data_000002.h5"])
def test_denoised_hdf5_is_recognized_by_any_of_its_files(clean, name):
    with open_series(clean.with_name(name)) as series:
        assert series.denoised_by == "tvjax 0.1.0"


def test_a_second_process_is_numbered_two(clean):
    output = clean.with_name("again_master.h5")
    rewrite(clean, output)
    with h5py.File(output) as file:
        assert file["entry/tvjax_2/sequence_index"][()] == 2

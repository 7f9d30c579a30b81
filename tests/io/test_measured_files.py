"""Files from real detectors, read, written back and read by another program."""

import fabio
import h5py
import numpy as np
import pytest

from tvjax.io import create_series, open_series

pytestmark = pytest.mark.real

READ = {
    "detector_formats/DLS_I03_smargon_0001.cbf.gz": (1, (2527, 2463), 0.915),
    "detector_formats/TIMEPIX_SU_512-stdgoni_0001.img": (1, (512, 512), 1.0),
    "detector_formats/b191_1_9_1.img.bz2": (1, (512, 512), 1.0),
    "detector_formats/dlsnxs2cbf_therm_0001.cbf.gz": (1, (4362, 4148), 0.931),
    "detector_formats/i01f0001.kcd.bz2": (1, (576, 625), 1.0),
    "detector_formats/somedata_0001.mccd.bz2": (1, (1024, 1024), 1.0),
    "detector_formats/testasapo1_1009_00002_m1_part00000.nxs": (10, (516, 1554), 0.954),
    "eiger9m_biocat_h5/vac_007_data_000001.h5": (2, (3262, 3108), 0.934),
    "lcysteine_i19_pilatus2m/l-cyst_01_#####.cbf.bz2": (15, (1679, 1475), 0.92),
    "nanoxanes_fe_hxn/chemical_map_LFP_model_sample.tiff": (4, (155, 160), 1.0),
    "powder_calibration/CeO2_Pilatus1M.tif.bz2": (1, (1043, 981), 0.928),
    "powder_calibration/ceria_50x30_740mm_000005_Pilatus2M.hdf5": (
        1,
        (1679, 1475),
        0.918,
    ),
    "saxs_symmetry/AgBehenate_003.tif.bz2": (1, (1024, 1024), 1.0),
    "saxs_symmetry/AgBehenate_228.hdf5": (1, (195, 487), 1.0),
    "saxs_symmetry/nexus-example.hdf5": (10, (195, 487), 1.0),
    "stxm_fe_als/71214078_aligned.h5": (123, (125, 125), 1.0),
    "stxm_pollux_nxstxm/Sample_Stack_2021-03-16_128.hdf5": (4, (50, 50), 1.0),
    "thaumatin_i24_pilatus6m/thau_3_2_0003.cbf.bz2": (1, (2527, 2463), 0.915),
    "tomo_tooth/tooth.h5": (181, (2, 640), 1.0),
}


@pytest.mark.parametrize("name", READ)
def test_frames_shape_and_share_of_valid_pixels(data, name):
    num_frames, shape, share = READ[name]
    with open_series(str(data / name)) as series:
        assert (series.num_frames, series.shape) == (num_frames, shape)
        frame = next(series.frames(num_frames - 1))
    assert frame.mask.mean() == pytest.approx(share, abs=0.001)


@pytest.mark.parametrize(
    ("name", "dataset", "output"),
    [
        ("eiger9m_biocat_h5/vac_007_data_000001.h5", None, "clean.h5"),
        ("thaumatin_i24_pilatus6m/thau_3_2_0003.cbf.bz2", None, "clean.cbf"),
        ("powder_calibration/CeO2_Pilatus1M.tif.bz2", None, "clean.tif"),
        ("detector_formats/testasapo1_1009_00002_m1_part00000.nxs", None, "clean.nxs"),
        ("saxs_symmetry/nexus-example.hdf5", None, "clean.hdf5"),
        ("txm_nca_ssrl_ni/nca_ssrl_08324.0_eV.h5", "sample", "clean.h5"),
        ("detector_formats/somedata_0001.mccd.bz2", None, "clean_master.h5"),
    ],
)
def test_written_back_the_counts_and_the_mask_are_intact(
    data, tmp_path, name, dataset, output
):
    with open_series(data / name, dataset=dataset) as before:
        stop = min(before.num_frames, 2)
        with create_series(tmp_path / output, before, stop=stop) as writer:
            for frame in before.frames(0, stop):
                writer.write(frame.data.astype(np.float64), frame)
            writer.finish()
        assert writer.tally.counts_out == writer.tally.counts_in
        assert writer.tally.negative == 0
        with open_series(tmp_path / output, dataset=dataset) as after:
            assert after.num_frames == stop
            for old, new in zip(before.frames(0, stop), after.frames(), strict=True):
                np.testing.assert_array_equal(new.mask, old.mask)
                np.testing.assert_array_equal(
                    new.data[new.mask], 16 * old.data[old.mask].astype(np.int64)
                )


def test_fabio_reads_the_eiger_file_that_was_written(data, tmp_path):
    source = data / "eiger9m_biocat_h5/vac_007_data_000001.h5"
    output = tmp_path / "clean.h5"
    with open_series(source) as series, create_series(output, series) as writer:
        for frame in series.frames():
            writer.write(frame.data.astype(np.float32), frame)
        writer.finish()
    with fabio.open(str(output)) as image, h5py.File(source) as raw:
        assert image.nframes == 2
        masked = raw["entry/data/data"][0] == 2**32 - 1
        np.testing.assert_array_equal(image.data == 2**32 - 1, masked)


def test_the_text_of_an_imgcif_file_changes_only_in_its_limits(data, tmp_path):
    source = data / "lcysteine_i19_pilatus2m/l-cyst_01_00001.cbf.bz2"
    with open_series(source) as series:
        with create_series(tmp_path / "clean.cbf", series) as writer:
            (frame,) = series.frames()
            writer.write(frame.data.astype(np.float32), frame)
            writer.finish()
    with open_series(tmp_path / "clean.cbf") as series:
        (clean,) = series.frames()
    old, new = frame.header.splitlines(), clean.header.splitlines()
    changed = {line for line in new if line not in old}
    assert len(new) == len(old) + 1
    assert changed == {
        "# Denoised_by tvjax 0.1.0, stored = 16 x counts",
        "# Count_cutoff 6219280 counts",
        "ARRAY1 1 linear 16 . 6219280 -1",
    }

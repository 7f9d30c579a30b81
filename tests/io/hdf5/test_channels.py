import h5py
import numpy as np
import pytest

from tests.io.masters import group
from tests.io.rewriting import rewrite
from tvjax.io import FileError, open_series

NAMES = ("threshold_1", "threshold_2", "difference")
SHAPE = (20, 24)
RNG = np.random.default_rng(0)
LOW = RNG.poisson(8.0, (6, *SHAPE)).astype(np.uint32)
HIGH = RNG.binomial(LOW, 0.5).astype(np.uint32)
EACH = dict(zip(NAMES, (LOW, HIGH, LOW - HIGH), strict=True))
ALL = np.stack(list(EACH.values()), 1)


def write(folder, *, named="axis", view=False, images=ALL):
    """A master with two data files of three frames, as of a detector of thresholds."""
    folder.mkdir(exist_ok=True)
    for k in (1, 2):
        with h5py.File(folder / f"a_data_{k:06}.h5", "w") as file:
            file["entry/data/data"] = images[3 * k - 3 : 3 * k]
    with h5py.File(folder / "a_master.h5", "w") as file:
        entry = group(file, "entry", "NXentry")
        data = group(entry, "data", "NXdata")
        for k in (1, 2):
            data[f"data_{k:06}"] = h5py.ExternalLink(
                f"a_data_{k:06}.h5", "entry/data/data"
            )
        if view:
            layout = h5py.VirtualLayout(images.shape, images.dtype)
            for k in (1, 2):
                layout[3 * k - 3 : 3 * k] = h5py.VirtualSource(
                    f"a_data_{k:06}.h5", "entry/data/data", (3, *images.shape[1:])
                )
            data.create_virtual_dataset("data", layout)
            data.attrs["signal"] = "data"
        if named == "axis":
            data["channel"] = [*NAMES]
            data.attrs["axes"] = ["image_id", "channel", ".", "."]
        detector = group(
            group(entry, "instrument", "NXinstrument"), "detector", "NXdetector"
        )
        for n, name in enumerate(NAMES if named == "groups" else ()):
            channel = group(detector, f"{name}_channel", "NXdetector_channel")
            channel["saturation_value"] = np.uint32(1000 * (n + 1))
            channel["pixel_mask"] = np.roll(np.eye(*SHAPE, dtype=np.uint32), n, 1)
        sample = group(entry, "sample", "NXsample")
        group(sample, "goniometer", "NXgoniometer")["omega"] = 0.5 * np.arange(6)
    return folder / "a_master.h5"


def stored(path, dataset=None):
    with open_series(path, dataset=dataset) as series:
        return np.stack([frame.data for frame in series.frames()])


@pytest.mark.parametrize("named", ["axis", "groups", None])
def test_several_thresholds_are_asked_about(tmp_path, named):
    names = NAMES if named else ("threshold_1", "threshold_2", "threshold_3")
    match = f"3 images a frame .*{', '.join(names)}: .*--dataset {names[0]}"
    with pytest.raises(FileError, match=match):
        open_series(write(tmp_path, named=named))


@pytest.mark.parametrize("path", ["", "/entry/data:"])
@pytest.mark.parametrize("view", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_the_threshold_that_is_named_is_read_alone(tmp_path, name, view, path):
    master = write(tmp_path, view=view)
    np.testing.assert_array_equal(stored(master, path + name), EACH[name])
    with open_series(master, dataset=path + name) as series:
        (warning,) = [text for text in series.warnings if "is read" in text]
        np.testing.assert_array_equal(series.angles, 0.5 * np.arange(6))
    assert all(
        other in warning.partition("no images of")[2] for other in {*NAMES} - {name}
    )


@pytest.mark.parametrize("selection", [(0, 6), (2, 5), (3, 6)])
@pytest.mark.parametrize("view", [False, True])
def test_the_output_has_the_frames_of_one_threshold(tmp_path, view, selection):
    master = write(tmp_path / "raw", view=view)
    start, stop = selection
    output = tmp_path / "clean" / "a_master.h5"
    options = {"dataset": "threshold_2", "scale": 1}
    rewrite(master, output, start=start, stop=stop, **options)
    with h5py.File(output) as file:
        data = file["entry/data"]
        parts = [data[name] for name in sorted(data) if name.startswith("data_")]
        images = np.concatenate([part[()] for part in parts])
        np.testing.assert_array_equal(images, HIGH[start:stop])
        if view:
            np.testing.assert_array_equal(data["data"][()], HIGH[start:stop])
        assert list(data.attrs["axes"]) == ["image_id", ".", "."]
        omega = file["entry/sample/goniometer/omega"][()]
        np.testing.assert_array_equal(omega, 0.5 * np.arange(start, stop))
    np.testing.assert_array_equal(stored(output), HIGH[start:stop])


def test_what_describes_a_threshold_belongs_to_it(tmp_path):
    master = write(tmp_path, named="groups")
    for n, name in enumerate(NAMES):
        with open_series(master, dataset=name) as series:
            assert series.metadata.saturation == 1000 * (n + 1)
            np.testing.assert_array_equal(~series.mask, np.roll(np.eye(*SHAPE), n, 1))


@pytest.mark.parametrize("leading", [(3,), (6, 3), (6,), ()], ids=str)
def test_masks_have_planes_for_frames_or_thresholds(tmp_path, leading):
    master = write(tmp_path)
    mask = np.zeros((*leading, *SHAPE), np.uint32)
    marked = (1,) if leading == (3,) else (2, 1) if len(leading) == 2 else (2,)
    mask[marked[: len(leading)] + (0, 0)] = 1
    with h5py.File(master, "a") as file:
        file["entry/instrument/detector/pixel_mask"] = mask
    for name in NAMES:
        with open_series(master, dataset=name) as series:
            invalid = [int((~frame.mask).sum()) for frame in series.frames()]
        concerned = name == "threshold_2" or 3 not in leading
        frames = [2] if 6 in leading else range(6)
        assert invalid == [int(concerned and n in frames) for n in range(6)]


def test_a_threshold_that_is_not_there_is_told(tmp_path):
    with pytest.raises(FileError, match="of threshold_1, threshold_2, difference"):
        open_series(write(tmp_path), dataset="/entry/data:high")
    master = write(tmp_path / "one", images=LOW)
    with pytest.raises(FileError, match="no threshold that could be chosen"):
        open_series(master, dataset="threshold_1")


def test_parts_with_other_thresholds_are_refused(tmp_path):
    master = write(tmp_path)
    with h5py.File(tmp_path / "a_data_000002.h5", "w") as file:
        file["entry/data/data"] = ALL[3:, :2]
    with pytest.raises(FileError, match="others of 3 thresholds"):
        open_series(master, dataset="threshold_1")


def test_a_raster_of_frames_is_no_detector_of_thresholds(tmp_path):
    with h5py.File(tmp_path / "r.h5", "w") as file:
        file["entry/data/data"] = ALL
    assert len(stored(tmp_path / "r.h5")) == ALL.shape[0] * ALL.shape[1]

import h5py
import numpy as np
import pytest

from tests.io.rewriting import read
from tvjax.io import FileError, open_series
from tvjax.io.dectris_header import start_angle


def test_the_nexus_signal_is_taken_among_several_stacks(tmp_path):
    with h5py.File(tmp_path / "nexus.h5", "w") as file:
        file["detector/frames"] = np.ones((2, 8, 9))
        file["detector/dark"] = np.zeros((2, 8, 9))
        file["plot/frames"] = h5py.SoftLink("/detector/frames")
        file["plot"].attrs.update(NX_class="NXdata", signal="frames")
    assert read(tmp_path / "nexus.h5").min() == 1


def test_several_stacks_are_named_and_one_can_be_chosen(tmp_path):
    path = tmp_path / "several.h5"
    with h5py.File(path, "w") as file:
        file["sample"] = np.ones((2, 8, 9))
        file["reference"] = np.zeros((3, 8, 9))
    with pytest.raises(FileError, match="/reference .*, /sample .*--dataset"):
        open_series(path)
    assert len(read(path, dataset="sample")) == 2
    with pytest.raises(
        FileError, match="no images at /other: choose one of /reference"
    ):
        open_series(path, dataset="other")


def test_a_file_without_images_is_refused(tmp_path):
    with h5py.File(tmp_path / "spectrum.h5", "w") as file:
        file["energy"] = np.arange(5.0)
    with pytest.raises(FileError, match="holds no images"):
        open_series(tmp_path / "spectrum.h5")


def test_a_missing_data_file_is_named(master):
    master.with_name("scan_data_000002.h5").unlink()
    with pytest.raises(FileError, match="scan_data_000002.h5, which is missing"):
        open_series(master)


def test_a_missing_filter_is_named_with_the_remedy(master, monkeypatch):
    monkeypatch.setattr(h5py.h5z, "filter_avail", lambda code: False)
    with pytest.raises(FileError, match="filter 32008 .*pip install .*hdf5plugin"):
        open_series(master)


def named(path, images):
    """Write datasets by their names."""
    with h5py.File(path, "w") as file:
        for name, values in images.items():
            file[name] = values
    return path


def stack(number, first=0, shape=(8, 9)):
    return np.stack([np.full(shape, first + i, np.uint32) for i in range(number)])


def values(path, **options):
    return read(path, **options)[:, 0, 0].tolist()


def interleaved(folder, *, shown=range(6), name="data", **attributes):
    """Write two numbered files that took turns, and what shows their frames."""
    for writer in range(2):
        named(folder / f"part_{writer}.h5", {"data": stack(6)[writer::2]})
    view = h5py.VirtualLayout((len(shown), 8, 9), np.uint32)
    for place, frame in enumerate(shown):
        source = h5py.VirtualSource(f"part_{frame % 2}.h5", "data", (3, 8, 9))
        view[place] = source[frame // 2]
    with h5py.File(folder / "scan.h5", "w") as file:
        group = file.create_group("entry/data")
        group.attrs.update(attributes)
        group.create_virtual_dataset(name, view)
        for writer in range(2):
            group[f"data_{writer + 1}"] = h5py.ExternalLink(f"part_{writer}.h5", "data")
    return folder / "scan.h5"


@pytest.mark.parametrize(
    ("name", "attributes"),
    [
        ("data", {}),
        ("view", {"NX_class": "NXdata", "signal": "view"}),
        ("anything", {}),
    ],
)
def test_the_order_is_that_of_the_view(tmp_path, name, attributes):
    path = interleaved(tmp_path, name=name, **attributes)
    assert values(path) == list(range(6))
    assert values(path, dataset="entry/data/data_2") == [1, 3, 5]
    assert values(path, dataset="entry/data") == [0, 2, 4, 1, 3, 5]


def test_a_view_in_the_order_of_the_links_changes_nothing(tmp_path):
    path = interleaved(tmp_path, shown=[0, 2, 4, 1, 3, 5])
    with open_series(path) as series:
        assert len(series.layout.datasets) == 2


@pytest.mark.parametrize("shown", [[0, 1], [0, 1, 2, 3, 4, 5, 0]])
def test_a_view_of_other_frames_than_the_links_is_asked_about(tmp_path, shown):
    path = interleaved(tmp_path, shown=shown)
    both = r"/entry/data \(3, 8, 9\) \+ \(3, 8, 9\), /entry/data/data .*--dataset"
    with pytest.raises(FileError, match=both):
        open_series(path)
    assert values(path, dataset="entry/data/data") == shown
    assert len(values(path, dataset="entry/data")) == 6


@pytest.mark.parametrize(
    "names",
    [
        ("entry/data/data_1", "entry2/data/data_1"),
        ("entry/one/data_1", "entry/two/data_1"),
        ("one/data", "two/data"),
    ],
)
def test_frames_of_several_detectors_are_asked_about(tmp_path, names):
    path = named(tmp_path / "a.h5", dict.fromkeys(names, stack(2)))
    groups = [name.removesuffix("_1").rpartition("/")[0] for name in names]
    with pytest.raises(FileError, match=f"/{groups[0]}.*/{groups[1]}.*--dataset"):
        open_series(path)


def test_a_detector_that_is_not_plotted_has_frames_too(tmp_path):
    path = named(
        tmp_path / "a.h5", {"e/saxs/data": stack(2), "e/waxs/data": stack(2, 5)}
    )
    with h5py.File(path, "a") as file:
        file["e/plot/data"] = h5py.SoftLink("/e/saxs/data")
        file["e/plot"].attrs.update(NX_class="NXdata", signal="data")
        for name in ("saxs", "waxs"):
            file[f"e/{name}"].attrs["NX_class"] = "NXdetector"
    with pytest.raises(FileError, match="/e/saxs/data .*/e/waxs/data .*--dataset"):
        open_series(path)
    assert values(path, dataset="e/waxs/data") == [5, 6]


def test_numbered_datasets_are_in_the_order_of_their_numbers(tmp_path):
    numbers = [8, 9, 10, 11]
    images = {f"entry/data_{number}": stack(1, number) for number in numbers}
    assert values(named(tmp_path / "a.h5", images)) == numbers


def test_a_numbered_group_is_no_dataset(tmp_path):
    names = ("entry_1/data_1/data", "entry_1/data_1/mask")
    path = named(tmp_path / "a.cxi", dict.fromkeys(names, stack(3)))
    with open_series(path) as series:
        assert series.layout.datasets[0].name == "/entry_1/data_1/data"


def test_images_behind_a_link_to_a_group_are_found(tmp_path):
    with h5py.File(tmp_path / "scans.h5", "w") as file:
        file["1.1/instrument/eiger/data"] = stack(3)
        file["1.1/measurement/eiger"] = h5py.SoftLink("/1.1/instrument/eiger/data")
        file["1.1/itself"] = h5py.SoftLink("/1.1")
    with h5py.File(tmp_path / "all.h5", "w") as file:
        file["first"] = h5py.ExternalLink("scans.h5", "/1.1")
    for dataset in (None, "first/measurement/eiger", "first/instrument/eiger/data"):
        assert values(tmp_path / "all.h5", dataset=dataset) == [0, 1, 2]


def test_what_describes_the_sample_is_no_image(tmp_path):
    path = named(
        tmp_path / "a.h5",
        {
            "entry/sample/matrices": np.ones((4, 9, 9)),
            "entry/elsewhere/ub": np.ones((20, 3, 3)),
            "entry/positions": np.ones((100, 3)),
        },
    )
    with h5py.File(path, "a") as file:
        file["entry/sample"].attrs["NX_class"] = "NXsample"
    with pytest.raises(FileError, match="holds no images, only /entry"):
        open_series(path)
    assert len(values(path, dataset="entry/elsewhere/ub")) == 20


@pytest.mark.parametrize("kind", ["NXdata", ""])
@pytest.mark.parametrize(
    ("link", "sentence"),
    [
        (h5py.ExternalLink("gone.h5", "/data"), "in gone.h5, which is missing"),
        (h5py.SoftLink("/elsewhere/data"), "data that leads nowhere"),
        (h5py.SoftLink("/entry/outside/data"), "in lost.h5, which is missing"),
    ],
)
def test_images_that_are_not_there_are_named(tmp_path, kind, link, sentence):
    path = named(tmp_path / "a.h5", {"entry/spectra": np.ones((20, 30))})
    with h5py.File(path, "a") as file:
        file["entry/outside"] = h5py.ExternalLink("lost.h5", "/entry")
        file.create_group("entry/plot").attrs["NX_class"] = kind
        file["entry/plot/data"] = link
    with pytest.raises(FileError, match=sentence):
        open_series(path)


def test_a_scan_that_stopped_can_be_read_as_far_as_it_went(master, counts):
    master.with_name("scan_data_000002.h5").unlink()
    with pytest.raises(FileError, match=r"000002.h5.*frames 0:3.*--frames 0:3"):
        open_series(master)
    with open_series(master, numbered=True) as series:
        assert series.num_frames == 7
        assert len(list(series.frames(0, 3))) == 3
        with pytest.raises(FileError, match=r"000002.h5.*missing.*0:3"):
            next(series.frames(2, 4))
    master.with_name("scan_data_000001.h5").unlink()
    with pytest.raises(FileError, match=r"000001.h5, which is missing"):
        open_series(master, numbered=True)


def test_thresholds_that_are_told_are_no_raster(tmp_path):
    images = np.stack([stack(3), stack(3)], 1)
    path = named(tmp_path / "a.h5", {"entry/data/data": images})
    assert len(values(path)) == 6
    with pytest.raises(FileError, match="no range of frames.*without --frames"):
        open_series(path, numbered=True)
    with h5py.File(path, "a") as file:
        file["entry/detector/threshold_energy"] = [6.0, 9.0]
    with pytest.raises(FileError, match=r"2 images a frame .*--dataset"):
        open_series(path)


def test_a_plot_that_is_lost_hides_no_images(tmp_path):
    path = named(tmp_path / "a.h5", {"entry/data/data_1": stack(2)})
    with h5py.File(path, "a") as file:
        file["entry/plot/sums"] = h5py.ExternalLink("gone.h5", "/sums")
        file["entry/plot"].attrs.update(NX_class="NXdata", signal="sums")
    assert values(path) == [0, 1]


def test_a_scan_that_stopped_within_a_file_can_be_read_up_to_it(master):
    last = master.with_name("scan_data_000003.h5")
    last.write_bytes(last.read_bytes()[:100])
    with pytest.raises(FileError, match=r"000003.h5 is truncated.*--frames 0:6"):
        open_series(master)
    with open_series(master, numbered=True) as series:
        assert len(list(series.frames(0, 6))) == 6


def numbered_parts(path, numbers, **attributes):
    """Two frames under each number."""
    contents = {
        f"entry/data/data_{n:06}": stack(2) + np.uint16(10 * n) for n in numbers
    }
    named(path, contents)
    with h5py.File(path, "a") as file:
        file["entry/sample/goniometer/omega"] = 0.5 * np.arange(8)
        for n in numbers:
            images = file[f"entry/data/data_{n:06}"]
            images.attrs.update({k: v(n) for k, v in attributes.items()})
    return path


def test_a_number_that_is_missing_is_no_end_of_the_numbers_before(tmp_path):
    path = numbered_parts(tmp_path / "a.h5", (1, 2, 4))
    match = r"data_000002 and \S*data_000004.* 3 nothing.*--frames 0:4"
    with pytest.raises(FileError, match=match):
        open_series(path)
    with open_series(path, numbered=True) as series:
        assert [int(f.data.min()) for f in series.frames(0, 4)] == [10, 11, 20, 21]
        with pytest.raises(FileError, match="--frames with a part of 0:4"):
            next(series.frames(4, 5))
        assert list(series.angles[:2]) == [0, 0.5]


@pytest.mark.parametrize("numbers", [(0, 1, 2, 3), (1, 2, 3, 4), (5, 10, 15, 20)])
def test_numbers_that_are_equally_far_apart_lack_nothing(tmp_path, numbers):
    with open_series(numbered_parts(tmp_path / "a.h5", numbers)) as series:
        assert series.num_frames == 8 and not series.warnings


def test_a_part_of_a_scan_has_its_own_angles(tmp_path):
    path = numbered_parts(
        tmp_path / "a.h5", (1, 2, 4), image_nr_low=lambda n: np.uint64(2 * n - 1)
    )
    with open_series(path, dataset="/entry/data/data_000004") as series:
        np.testing.assert_array_equal(series.angles, [3.0, 3.5])


def test_a_part_of_a_scan_that_does_not_tell_which_has_no_angles(tmp_path):
    path = numbered_parts(tmp_path / "a.h5", (1, 2, 4))
    with open_series(path, dataset="/entry/data/data_000004") as series:
        assert any("none is taken" in text for text in series.warnings)
        assert start_angle(series, next(series.frames())) is None

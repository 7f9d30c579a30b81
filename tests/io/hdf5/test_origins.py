import h5py
import numpy as np
import pytest

from tests.io.rewriting import read
from tvjax.io import FileError, open_series
from tvjax.io.hdf5.origins import check_sources, origins, sources, stored_in

SHAPE = (8, 9)


def frames(number, first=0):
    """Frames that are told apart by their value."""
    return np.stack([np.full(SHAPE, first + i, np.uint32) for i in range(number)])


def store(path, images, name="data"):
    with h5py.File(path, "a") as file:
        file[name] = images
    return path


def view(path, shape, parts, name="data"):
    """Write a virtual dataset: parts are where it shows which frames of what."""
    layout = h5py.VirtualLayout((*shape, *SHAPE), np.uint32)
    for shown, source, whole, taken in parts:
        place = h5py.VirtualSource(source, "data", (*whole, *SHAPE), np.uint32)
        layout[shown] = place[taken]
    with h5py.File(path, "a") as file:
        file.create_virtual_dataset(name, layout)
    return path


def numbered_view(path, file_name="part_%b.h5", dataset_name="data"):
    """Write a virtual dataset of as many sources of two frames as there are."""
    unlimited = h5py.h5s.UNLIMITED
    shown = h5py.h5s.create_simple((0, *SHAPE), (unlimited, *SHAPE))
    shown.select_hyperslab((0, 0, 0), (unlimited, 1, 1), (2, 1, 1), (2, *SHAPE))
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_virtual(
        shown,
        file_name.encode(),
        dataset_name.encode(),
        h5py.h5s.create_simple((2, *SHAPE)),
    )
    whole = h5py.h5s.create_simple((0, *SHAPE), (unlimited, *SHAPE))
    with h5py.File(path, "w") as file:
        h5py.h5d.create(file.id, b"view", h5py.h5t.NATIVE_UINT32, whole, creation)
    return path


def places(path, name="data"):
    """Return file name and position of where each frame is stored."""
    with h5py.File(path) as file:
        return [(p.rpartition("/")[2], i) for p, _, i in origins(file[name])]


def test_a_frame_that_is_stored_is_its_own_origin(tmp_path):
    path = store(tmp_path / "a.h5", frames(3))
    assert places(path) == [("a.h5", 0), ("a.h5", 1), ("a.h5", 2)]
    with h5py.File(path, "a") as file:
        file["second"], file["image"] = file["data"], frames(1)[0]
        assert origins(file["second"]) == origins(file["data"])
        assert len(origins(file["image"])) == 1


@pytest.mark.parametrize(
    ("shown", "taken"),
    [
        (slice(0, 3), slice(0, 3)),
        (slice(None, None, 2), slice(1, 4)),
        ([0, 1, 4], slice(0, 3)),
        (slice(2, 5), [0, 2, 3]),
    ],
)
def test_origins_are_what_hdf5_shows(tmp_path, shown, taken):
    store(tmp_path / "a.h5", frames(4, 10))
    path = view(tmp_path / "v.h5", (5,), [(shown, "a.h5", (4,), taken)])
    with h5py.File(path) as file:
        values = file["data"][:, 0, 0]
        for value, (_, _, index) in zip(values, origins(file["data"]), strict=True):
            assert value == 0 or value == 10 + index
    shows = [place for place in places(path) if place[0] == "a.h5"]
    assert len(shows) == 3


def test_views_of_views_are_seen_through(tmp_path):
    store(tmp_path / "a.h5", frames(2))
    store(tmp_path / "b.h5", frames(2, 2))
    turns = [
        (slice(0, None, 2), "a.h5", (2,), slice(None)),
        (slice(1, None, 2), "b.h5", (2,), slice(None)),
    ]
    view(tmp_path / "inner.h5", (4,), turns)
    path = view(
        tmp_path / "outer.h5", (2,), [(slice(None), "inner.h5", (4,), slice(1, 3))]
    )
    assert places(path) == [("b.h5", 0), ("a.h5", 1)]
    with h5py.File(path) as file:
        names = [item.file.filename for item in stored_in(file["data"])]
    assert {name.rpartition("/")[2] for name in names} == {
        *("outer.h5", "inner.h5", "a.h5", "b.h5")
    }


def test_parts_of_frames_are_no_frames(tmp_path):
    store(tmp_path / "a.h5", frames(2))
    layout = h5py.VirtualLayout((2, 16, 9), np.uint32)
    layout[:, 8:] = h5py.VirtualSource("a.h5", "data", (2, *SHAPE), np.uint32)
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file.create_virtual_dataset("data", layout)
    assert places(tmp_path / "v.h5") == [("v.h5", 0), ("v.h5", 1)]


def test_numbers_in_the_names_of_sources_are_followed(tmp_path):
    for block in range(3):
        store(tmp_path / f"part_{block}.h5", frames(2, 2 * block))
    path = numbered_view(tmp_path / "v.h5")
    expected = [(f"part_{block}.h5", i) for block in range(3) for i in range(2)]
    assert places(path, "view") == expected
    assert read(path)[:, 0, 0].tolist() == list(range(6))


@pytest.mark.parametrize("lost", [0, 1])
def test_a_numbered_source_that_is_missing_is_named(tmp_path, lost):
    for block in range(3):
        if block != lost:
            store(tmp_path / f"part_{block}.h5", frames(2, 2 * block))
    path = numbered_view(tmp_path / "v.h5")
    with pytest.raises(FileError, match=f"part_{lost}.h5, which is missing"):
        open_series(path)


def test_a_numbered_dataset_that_is_missing_is_named(tmp_path):
    for block in (0, 2):
        store(tmp_path / "all.h5", frames(2), f"run/data{block}")
    path = numbered_view(tmp_path / "v.h5", "all.h5", "run/data%b")
    with pytest.raises(FileError, match="all.h5 lacks the images run/data1"):
        open_series(path)


def whole(source, number=2):
    return [(slice(None), source, (number,), slice(None))]


def test_a_source_without_the_dataset_is_refused(tmp_path):
    store(tmp_path / "a.h5", frames(2), "other")
    path = view(tmp_path / "v.h5", (2,), whole("a.h5"))
    with pytest.raises(FileError, match="a.h5 lacks the images data"):
        open_series(path)


def test_a_source_that_a_source_lacks_is_refused(tmp_path):
    view(tmp_path / "inner.h5", (2,), whole("gone.h5"))
    path = view(tmp_path / "outer.h5", (2,), whole("inner.h5"))
    with pytest.raises(FileError, match="gone.h5, which is missing"):
        open_series(path)


def test_a_source_with_too_few_frames_is_refused(tmp_path):
    store(tmp_path / "a.h5", frames(2))
    path = view(tmp_path / "v.h5", (3,), whole("a.h5", 3))
    with pytest.raises(FileError, match="less than .* shows of them"):
        open_series(path)


def test_images_that_show_themselves_are_refused(tmp_path):
    path = view(tmp_path / "v.h5", (2,), whole("v.h5"))
    with h5py.File(path) as file:
        assert len(origins(file["data"])) == 2
        with pytest.raises(FileError, match="show themselves"):
            check_sources(path, file["data"])


def test_sources_are_found_beside_the_file_that_a_symbolic_link_leads_to(tmp_path):
    for folder in ("raw", "work"):
        (tmp_path / folder).mkdir()
    store(tmp_path / "raw/a.h5", frames(2, 1))
    view(tmp_path / "raw/v.h5", (2,), whole("a.h5"))
    link = tmp_path / "work/v.h5"
    link.symlink_to(tmp_path / "raw/v.h5")
    assert read(link)[:, 0, 0].tolist() == [1, 2]
    with h5py.File(link) as file:
        (source,) = sources(file["data"])
        assert source.path == tmp_path / "raw/a.h5"

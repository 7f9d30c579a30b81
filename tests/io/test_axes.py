import h5py
import numpy as np
import pytest

from tvjax.io import FileError, open_stack

ENERGIES = 8300.0 + np.arange(6)
SIZES = {"E": 6, "Y": 9, "X": 11}
ORDERS = ["EYX", "YXE", "YEX", "XYE", "EXY", "XEY"]


def stack(axes="EYX"):
    """Numbers that tell where they are, whatever the order of the axes."""
    numbers = np.arange(6 * 9 * 11, dtype=np.float32).reshape(6, 9, 11)
    return numbers.transpose(["EYX".index(axis) for axis in axes])


def save_length(path, axes):
    with h5py.File(path, "w") as file:
        file["any/stack"] = stack(axes)
        file["other/energy"] = ENERGIES


def save_indices(path, axes):
    with h5py.File(path, "w") as file:
        data = file.create_group("entry/data")
        data.attrs.update(NX_class="NXdata", signal="data")
        data.attrs["energy_indices"] = axes.index("E")
        data["data"] = stack(axes)


def save_axes_of_data(path, axes):
    words = {"E": "energy", "Y": "y", "X": "x"}
    with h5py.File(path, "w") as file:
        file["data"] = stack(axes)
        file["data"].attrs["axes"] = ":".join(words[axis] for axis in axes)


def save_hyperspy(path, axes):
    with h5py.File(path, "w") as file:
        group = file.create_group("Experiments/one")
        group["data"] = stack(axes)
        for n, axis in enumerate(axes):
            group.create_group(f"axis-{n}").attrs.update(
                name={"E": "Energy", "Y": "y", "X": "x"}[axis],
                size=SIZES[axis],
                offset=8300.0,
                scale=1.0,
                navigate=axis != "E",
                units="eV",
            )


def save_scales(path, axes):
    with h5py.File(path, "w") as file:
        file["data"] = stack(axes)
        file["energy"] = ENERGIES
        file["energy"].make_scale("energy")
        file["data"].dims[axes.index("E")].attach_scale(file["energy"])


SAVES = [
    *(save_length, save_indices, save_axes_of_data, save_hyperspy, save_scales),
]


@pytest.mark.parametrize("save", SAVES)
@pytest.mark.parametrize("axes", ORDERS)
def test_the_energy_is_where_the_file_has_it(tmp_path, save, axes):
    save(tmp_path / "a.h5", axes)
    with open_stack(tmp_path / "a.h5") as found:
        assert found.axes.index("E") == axes.index("E")
        assert found.shape[0] == 6
        values = found[:]
    if found.axes != axes:  # rows and columns have no names
        values = values.transpose(0, 2, 1)
    np.testing.assert_array_equal(values, stack())


def test_hyperspy_tells_energies_by_the_first_and_their_distance(tmp_path):
    save_hyperspy(tmp_path / "a.h5", "YXE")
    with open_stack(tmp_path / "a.h5") as found:
        np.testing.assert_array_equal(found.energies, ENERGIES)


@pytest.mark.parametrize(
    ("navigates", "axes"), [((True, True, False), "YXE"), ((True, False, False), "EYX")]
)
def test_navigation_tells_where_names_do_not(tmp_path, navigates, axes):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["one/data"] = stack(axes)
        for n, navigate in enumerate(navigates):
            attributes = {"size": SIZES[axes[n]], "navigate": navigate, "name": "?"}
            file["one"].create_group(f"axis-{n}").attrs.update(attributes)
    with open_stack(tmp_path / "a.h5") as found:
        assert found.axes == axes


@pytest.mark.parametrize(("said", "axes"), [("spectrum", "YXE"), ("image", "EYX")])
def test_an_interpretation_tells(tmp_path, said, axes):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"] = stack(axes)
        file["data"].attrs["interpretation"] = said
    with open_stack(tmp_path / "a.h5") as found:
        assert found.axes == axes


@pytest.mark.parametrize("axes", ["EYX", "YXE"])
def test_energies_of_the_user_tell(tmp_path, axes):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"] = stack(axes)
    with open_stack(tmp_path / "a.h5", energies="8300:8305:6") as found:
        assert found.axes == axes
        np.testing.assert_array_equal(found.energies, ENERGIES)
    with pytest.raises(FileError, match="has 5 energies, .* frames: name the list"):
        open_stack(tmp_path / "a.h5", energies="8300:8305:5")


def test_a_stack_of_which_nothing_tells_the_energy_is_asked_about(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"] = stack()
    ask = r"a.h5 does not tell which .* \(6 x 9 x 11\) .*: pass --axes, for instance"
    for energies in (None, "none"):
        with pytest.raises(FileError, match=ask):
            open_stack(tmp_path / "a.h5", energies=energies)
    with open_stack(tmp_path / "a.h5", axes="YXE") as found:
        assert found.shape == (11, 6, 9)


def test_energies_that_fit_two_axes_are_asked_about(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"] = np.zeros((6, 6, 11), np.float32)
        file["energy"] = ENERGIES
    with pytest.raises(FileError, match="fit several axes, and does not tell which"):
        open_stack(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["data"].attrs["axes"] = "y:energy:x"
    with open_stack(tmp_path / "a.h5") as found:
        assert found.axes == "YEX"


def test_names_that_contradict_the_lengths_are_asked_about(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"] = stack("YXE")
        file["data"].attrs["axes"] = "energy:y:x"
        file["energy"] = ENERGIES
    with pytest.raises(FileError, match="contradicts itself"):
        open_stack(tmp_path / "a.h5")


def test_axes_called_by_letters_are_theirs(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["exchange/data"] = stack("XYE")
        file["exchange/data"].attrs["axes"] = "x:y:z"
        file["exchange/energy"] = ENERGIES
    with open_stack(tmp_path / "a.h5") as found:
        assert found.axes == "XYE"


def test_frames_of_a_detector_come_first(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["entry/data/data_000001"] = stack()
    with open_stack(tmp_path / "a.h5") as found:
        assert found.axes == "EYX"

import h5py
import numpy as np

from tests.io.rewriting import STACK_PROVENANCE
from tests.io.stacks import ENERGIES, frames
from tvjax.io import open_stack, save_stack, stack_of, write_maps
from tvjax.io.staging import OutputFile


def test_a_stack_in_memory_can_be_written(tmp_path):
    data = frames()
    save_stack(tmp_path / "raw.h5", stack_of(data, ENERGIES, unit="optical density"))
    with open_stack(tmp_path / "raw.h5") as stack:
        np.testing.assert_array_equal(stack[:], data)
        np.testing.assert_array_equal(stack.energies, ENERGIES)
        assert stack.series.denoised_by is None
    with h5py.File(tmp_path / "raw.h5") as file:
        assert file["entry/data/data"].attrs["units"] == "optical density"


def test_a_new_stack_is_what_nexus_viewers_open_by_themselves(tmp_path):
    save_stack(tmp_path / "raw.h5", stack_of(frames(), ENERGIES))
    with h5py.File(tmp_path / "raw.h5") as file:
        group = file[file.attrs["default"]]
        group = group[group.attrs["default"]]
        assert group.attrs["NX_class"] == "NXdata"
        assert group.attrs["axes"].tolist() == ["energy", "y", "x"]
        images = group[group.attrs["signal"]]
        assert images.chunks == (1, *frames().shape[1:])
        np.testing.assert_array_equal(images, frames())
        assert group["energy"].attrs["units"] == "eV"


def test_maps_are_groups_with_units_and_the_names_of_references(tmp_path):
    maps = {
        "edge_energy": np.full((3, 4), 8340.5, np.float32),
        "fraction": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    }
    file = OutputFile(tmp_path / "map.h5")
    write_maps(
        file,
        maps,
        units={"edge_energy": "eV"},
        names=("NiO", "NCA"),
        provenance=STACK_PROVENANCE,
    )
    file.close()
    with h5py.File(tmp_path / "map.h5") as written:
        entry = written["entry"]
        assert entry.attrs["default"] == "edge_energy"
        for name, values in maps.items():
            np.testing.assert_array_equal(entry[name]["data"], values)
        assert entry["edge_energy"].attrs["axes"].tolist() == ["y", "x"]
        assert entry["edge_energy/data"].attrs["units"] == "eV"
        assert entry["fraction"].attrs["axes"].tolist() == ["reference", "y", "x"]
        assert entry["fraction/reference"].asstr()[()].tolist() == ["NiO", "NCA"]
        assert "units" not in entry["fraction/data"].attrs
        assert entry["tvjax/rank"][()] == 2

import h5py
import numpy as np
import pytest

from tests.io.masters import group
from tvjax.io import open_series
from tvjax.io.hdf5.metadata import read_metadata


def test_metadata_is_read_in_si_units(master):
    with open_series(master) as series:
        metadata = series.metadata
    assert metadata.detector == "Dectris EIGER2 Test"
    assert metadata.exposure == 0.1
    assert metadata.saturation == 50_000
    assert (metadata.start_angle, metadata.angle_increment) == (0.0, 0.5)


def metadata_of(tmp_path, **fields):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name, (value, unit) in fields.items():
            file[f"entry/instrument/{name}"] = value
            if unit:
                file[f"entry/instrument/{name}"].attrs["units"] = unit
        return read_metadata(file)


def test_lengths_and_times_are_converted_by_their_units(tmp_path):
    found = metadata_of(
        tmp_path,
        detector_distance=(150.0, "mm"),
        count_time=(20.0, "ms"),
        y_pixel_size=(75.0, "um"),
        x_pixel_size=(1e-4, "m"),
        beam_center_y=(10.5, "pixel"),
        beam_center_x=(20.5, None),
    )
    np.testing.assert_allclose((found.distance, found.exposure), (0.15, 0.02))
    np.testing.assert_allclose(found.pixel_size, (7.5e-5, 1e-4))
    assert found.beam_centre == (10.5, 20.5)


def test_a_length_without_a_known_unit_is_unknown(tmp_path):
    found = metadata_of(
        tmp_path,
        detector_distance=(150.0, None),
        sensor_thickness=(1.0, "inch"),
        y_pixel_size=(75.0, "um"),
        wavelength=([0.9, 1.0], None),  # no single number
    )
    assert found.known() == {}


def test_the_first_name_that_has_a_number_counts(tmp_path):
    found = metadata_of(
        tmp_path, incident_wavelength=(0.9, None), wavelength=(1.2, None)
    )
    assert found.wavelength == 0.9


def test_one_angle_has_no_increment(tmp_path):
    found = metadata_of(tmp_path, omega=([12.5], None))
    assert (found.start_angle, found.angle_increment) == (12.5, None)


@pytest.mark.parametrize(
    ("unit", "values"),
    [
        ("mm", (5.25, 5.76)),
        ("m", (5.25e-3, 5.76e-3)),
        ("\u00b5m", (5250.0, 5760.0)),
        ("Millimeter", (5.25, 5.76)),
        ("pixels", (30.5, 33.5)),
    ],
)
def test_a_beam_centre_in_lengths_is_told_in_pixels(tmp_path, unit, values):
    found = metadata_of(
        tmp_path,
        y_pixel_size=(5.25e-3 / 30.5, "m"),
        x_pixel_size=(5.76 / 33.5, "mm"),
        beam_center_y=(values[0], unit),
        beam_center_x=(values[1], unit),
    )
    np.testing.assert_allclose(found.beam_centre, (30.5, 33.5))


@pytest.mark.parametrize(("unit", "size"), [("mm", None), ("inch", 0.1), ("mm", 0.0)])
def test_a_beam_centre_that_is_no_pixels_is_unknown(tmp_path, unit, size):
    fields = {} if size is None else {"y_pixel_size": (size, "mm")}
    found = metadata_of(
        tmp_path,
        x_pixel_size=(0.1, "mm"),
        beam_center_y=(5.0, unit),
        beam_center_x=(5.0, unit),
        **fields,
    )
    assert found.beam_centre is None


def test_the_detector_of_the_images_counts(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for number, name in enumerate(("saxs", "waxs")):
            detector = group(file.require_group("instrument"), name, "NXdetector")
            detector["data"] = np.zeros((3, 4, 5), np.uint32)
            detector["beam_center_x"] = detector["beam_center_y"] = 10.0 + number
    for number, name in enumerate(("saxs", "waxs")):
        place = f"/instrument/{name}/data"
        with open_series(tmp_path / "a.h5", dataset=place) as series:
            assert series.metadata.beam_centre == (10 + number, 10 + number)


def test_a_text_is_one_of_a_reasonable_length(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["detector/description"] = "x" * 10_000
        assert read_metadata(file).detector == "x" * 200
        del file["detector/description"]
        file["counts"] = np.zeros((9, 9, 9))
        file["detector/description"] = h5py.SoftLink("/counts")
        file["goniometer/omega"] = h5py.SoftLink("/counts")
        assert read_metadata(file).known() == {}

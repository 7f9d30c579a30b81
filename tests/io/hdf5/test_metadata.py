import h5py
import numpy as np

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

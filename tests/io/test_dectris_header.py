import dataclasses

import numpy as np
import pytest

from tests.io.images import save_cbf
from tvjax.io import Frame, Metadata, open_series, series_of
from tvjax.io.dectris_header import (
    amend_header,
    compose_header,
    parse_header,
    read_denoised_by,
)
from tvjax.io.encoding import Encoding

HEADER = """###CBF: VERSION 1.5, a detector\r
\r
data_thing\r
\r
_array_data.header_convention "PILATUS_1.2"\r
_array_data.header_contents\r
;\r
# Detector: PILATUS 2M, S/N 24\r
# Pixel_size 172e-6 m x 172e-6 m\r
# Exposure_time 0.0964 s\r
# Count_cutoff 388705 counts\r
# Wavelength 0.68890 A\r
# Detector_distance 0.16 m\r
# Beam_xy (15.00, 10.00) pixels\r
# Start_angle -145.0 deg.\r
;\r
"""


def test_metadata_of_a_cbf_comes_from_its_header_lines(tmp_path, image):
    path = save_cbf(tmp_path / "a.cbf", image)
    _, section, rest = path.read_bytes().partition(b"--CIF-BINARY-FORMAT-SECTION--")
    path.write_bytes(HEADER.encode() + section + rest)
    with open_series(path) as series:
        metadata = series.metadata
    assert metadata.detector == "PILATUS 2M, S/N 24"
    assert metadata.pixel_size == (172e-6, 172e-6)
    assert metadata.beam_centre == (10.0, 15.0)
    assert (metadata.wavelength, metadata.distance) == (0.6889, 0.16)
    assert (metadata.saturation, metadata.start_angle) == (388705, -145.0)


KNOWN = Metadata(
    detector="EIGER 4M",
    wavelength=0.9795,
    distance=0.2,
    exposure=0.01,
    pixel_size=(7.5e-5, 8e-5),
    beam_centre=(1000.25, 2000.5),
    two_theta=1.5,
    start_angle=-10.0,
    angle_increment=0.1,
    sensor_material="CdTe",
    sensor_thickness=7.5e-4,
    saturation=50_000.0,
)


IMAGE = np.ones((4, 5), np.uint32)


def composed(metadata, index=0, *, header="", numbers=None):
    series = series_of(np.stack([IMAGE] * 8), metadata=metadata)
    series = dataclasses.replace(series, numbers=numbers)
    return compose_header(series, Frame(index, IMAGE, IMAGE > 0, header))


def test_what_is_composed_is_parsed_again():
    assert parse_header(composed(KNOWN)) == KNOWN


@pytest.mark.parametrize(
    ("header", "numbers", "angle"),
    [
        ("", None, -9.3),
        ("", (1, 2, 3, 4, 5, 6, 7, 18), -8.3),
        ("# Start_angle 4.5 deg.", (1, 2, 3, 4, 5, 6, 7, 18), 4.5),
    ],
)
def test_each_frame_starts_at_its_own_angle(header, numbers, angle):
    text = composed(KNOWN, 7, header=header, numbers=numbers)
    assert parse_header(text).start_angle == pytest.approx(angle)


def test_an_unknown_header_tells_nothing():
    assert parse_header("no line of this kind").known() == {}
    assert parse_header(composed(Metadata())).known() == {"detector": "unknown"}


def test_amended_limits_are_as_stored_and_the_program_is_named():
    text = composed(KNOWN)
    encoding = Encoding(np.dtype("int32"), 16, KNOWN.saturation)
    amended = amend_header(text, encoding, "tvjax 9")
    assert read_denoised_by(text) is None
    assert read_denoised_by(amended) == "tvjax 9"
    assert "stored = 16 x counts" in amended
    assert parse_header(amended).saturation == 16 * KNOWN.saturation
    assert "Denoised_by" not in amend_header(text, encoding, None)


def test_gain_and_overload_of_a_loop_are_as_stored():
    loop = (
        "loop_\n_array_intensities.gain\n_array_intensities.linearity\n"
        "_array_intensities.overload\n2.5 linear 1000\n"
    )
    encoding = Encoding(np.dtype("int32"), 4)
    assert amend_header(loop, encoding, None).endswith("\n10 linear 4000\n")
    odd = loop.replace(" linear", "")  # a value is missing: nothing is touched
    assert amend_header(odd, encoding, None) == odd

import numpy as np
import pytest

from tests.io.rewriting import rewrite
from tvjax.io.encoding import Encoding, TOP
from tvjax.io.integration_input import integration_input


def test_integrators_get_their_lines(master, tmp_path):
    output = tmp_path / "clean" / "clean_master.h5"
    rewrite(master, output, emit=("xds", "dials", "crystfel"))
    read = {path.suffixes[0]: path.read_text() for path in output.parent.glob("*.*.*")}
    assert read[".XDS"] == "GAIN= 16\nOVERLOAD= 800000\n"
    assert "geometry.detector.panel.gain = 16\n" in read[".dials"]
    assert "adu_per_photon = 16\nflag_morethan = 2147483645\n" == read[".crystfel"]


@pytest.mark.parametrize(
    ("saturation", "overload"), [(1000.0, 32_000), (1e9, TOP), (None, TOP)]
)
def test_the_overload_is_as_stored_and_never_beyond_the_largest_integer(
    saturation, overload
):
    encoding = Encoding(np.dtype("uint32"), 32, saturation)
    assert integration_input("xds", encoding) == f"GAIN= 32\nOVERLOAD= {overload}\n"


def test_dials_models_no_background_from_the_scatter_of_counts():
    lines = integration_input("dials", Encoding(np.dtype("uint32"), 32))
    assert "integration.background.algorithm = simple\n" in lines

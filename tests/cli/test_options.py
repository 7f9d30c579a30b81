import typing

import pytest
from typer.testing import CliRunner

from tvjax.cli import app
from tvjax.cli.options import Dtype, FloatType, NOISES
from tvjax.settings import parse_noise


def test_every_noise_in_the_help_is_one_that_can_be_named():
    words = NOISES.replace(" or ", ", ").split(", ")
    for word in words:
        full = word.replace("GAIN", "2").replace("SIGMA", "3").replace("OFFSET", "4")
        brief = full.partition("[")[0]
        for text in (brief, full.replace("[", "").replace("]", "")):
            assert parse_noise(text)[0] == brief.partition(":")[0]


@pytest.mark.parametrize("kind", [Dtype, FloatType])
def test_types_are_named_as_numpy_names_them(kind):
    assert [str(item) for item in kind] == [item.name for item in kind]


@pytest.mark.parametrize(
    ("command", "types"),
    [("denoise", "uint32|int32|float32"), ("stack", "float32|float64")],
)
def test_a_type_that_cannot_be_written_is_misuse(command, types):
    arguments = [command, "x.h5", "-o", "y.h5", "--dtype", "int8"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    for name in types.split("|"):
        assert name in result.stderr


@pytest.mark.parametrize("command", ["denoise", "stack", "symmetry", "predict"])
def test_commands_that_write_have_the_same_options(command):
    found = {info.name: info.callback for info in app.registered_commands}[command]
    hints = typing.get_type_hints(found, include_extras=True)
    assert {"inputs", "output", "mask", "dataset", "report"} <= hints.keys()
    assert {"overwrite", "force"} <= hints.keys()

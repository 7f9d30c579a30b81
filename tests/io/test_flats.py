import numpy as np
import pytest

from tests.io.stacks import ENERGIES, frames, write_plain, write_tiff
from tvjax.io import FileError, open_stack, read_flats

PART = slice(1, 3), slice(4, 9)


@pytest.fixture
def stack(tmp_path):
    with open_stack(write_plain(tmp_path / "raw.h5", frames())) as stack:
        yield stack


def light(stack, tmp_path, values, name="flat.h5"):
    if name.endswith("h5"):
        write_plain(tmp_path / name, values, energies=None)
        name += ":stack"
    else:
        write_tiff(tmp_path / name, values)
    return read_flats(str(tmp_path / name), stack)


@pytest.mark.parametrize("name", ["flat.h5", "flat.tif"])
def test_one_image_serves_all_and_one_each_its_own(stack, tmp_path, name):
    flats = frames() + 7
    one = light(stack, tmp_path, flats[0], "one_" + name)
    np.testing.assert_array_equal(one.cut(*PART), flats[:1, 4:9])
    each = light(stack, tmp_path, flats, "each_" + name)
    np.testing.assert_array_equal(each.cut(*PART), flats[1:3, 4:9])
    assert (one.num_exposures, each.num_exposures) == (1, 1)
    repeats = light(stack, tmp_path, flats[:3], "repeats_" + name)
    np.testing.assert_allclose(repeats.cut(*PART), flats[None, :3, 4:9].mean(1))
    assert repeats.num_exposures == 3


def test_a_column_is_taken_at_the_energies_of_the_stack(stack, tmp_path):
    (tmp_path / "i0.xsp").write_text("690 90\n710 110\n")
    found = read_flats(str(tmp_path / "i0.xsp"), stack)
    np.testing.assert_allclose(found.cut(*PART)[:, 0, 0], ENERGIES[1:3] - 600)


def test_flats_of_a_turned_stack_are_turned(tmp_path):
    turned = frames().transpose(1, 2, 0)
    source = write_plain(tmp_path / "raw.h5", turned)
    with open_stack(source, axes="YXE") as stack:
        found = light(stack, tmp_path, turned)
        np.testing.assert_array_equal(found.cut(*PART), frames()[1:3, 4:9])


@pytest.mark.parametrize("shape", [(12, 16), (5, 12, 16), (4,)])
def test_another_shape(stack, tmp_path, shape):
    with pytest.raises(FileError, match="has the shape .*, the stack has 5 frames of"):
        light(stack, tmp_path, np.ones(shape, np.float32))


def test_an_i0_that_is_too_short(stack, tmp_path):
    (tmp_path / "i0.txt").write_text("701 90\n710 110\n")
    with pytest.raises(FileError, match="from 701 to 710 eV, the stack from 700"):
        read_flats(str(tmp_path / "i0.txt"), stack)

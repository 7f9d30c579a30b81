import dataclasses

import numpy as np
import pytest

from tests.pipeline.stand_ins import components_of, write_references
from tvjax.io import FileError, stack_of
from tvjax.pipeline.maps import map_stack, read_references
from tvjax.settings import SettingsError, StackSettings


@pytest.fixture
def stack(scene):
    return stack_of(
        scene.truth.astype(np.float32), scene.energies, unit="optical density"
    )


@pytest.fixture
def components(scene):
    """All of the truth, which has three states."""
    truth = scene.truth.astype(np.float32)
    mask = np.ones(truth.shape[1:], bool)
    return components_of(truth, mask, 3, sigma=np.full(len(truth), 0.01))


def settings(*references, file="map.h5"):
    return StackSettings(references=references, map=file)


def test_references_are_read_at_the_energies_of_the_stack(tmp_path, scene, stack):
    name = write_references(tmp_path / "nickel.txt", scene)
    found = read_references(settings(name), stack)
    assert found.names == ("nickel 1", "nickel 2", "nickel 3")
    assert found.valences == (2, 3, 4)
    np.testing.assert_allclose(found.spectra, scene.spectra, atol=1e-6)
    assert read_references(StackSettings(), stack) is None


def test_valences_count_only_where_all_are_known(tmp_path, scene, stack):
    names = [
        write_references(tmp_path / "some.txt", scene),
        write_references(tmp_path / "more.txt", scene).partition("=")[0],
    ]
    found = read_references(settings(*names), stack)
    assert len(found.names) == 6 and found.valences is None


def test_a_file_may_have_an_equals_sign_in_its_name(tmp_path, scene, stack):
    write_references(tmp_path / "nickel=2.txt", scene)
    found = read_references(settings(str(tmp_path / "nickel=2.txt")), stack)
    assert found.valences is None


@pytest.mark.parametrize(
    ("valences", "error", "sentence"),
    [
        ("2,3", SettingsError, "a valence for each of the 3 spectra in .*, got 2"),
        ("two", SettingsError, "with =VALENCE where known"),
    ],
)
def test_valences_that_do_not_fit(tmp_path, scene, stack, valences, error, sentence):
    name = write_references(tmp_path / "n.txt", scene).partition("=")[0]
    with pytest.raises(error, match=sentence):
        read_references(settings(f"{name}={valences}"), stack)


def test_references_that_do_not_cover_the_stack(tmp_path, scene, stack):
    name = write_references(tmp_path / "n.txt", scene, scene.energies + 5)
    with pytest.raises(FileError, match="name a reference that covers it"):
        read_references(settings(name), stack)


def test_maps_of_the_truth_are_the_truth(tmp_path, scene, stack, components):
    mask = np.ones(stack.shape[1:], bool)
    chosen = settings(write_references(tmp_path / "nickel.txt", scene))
    references = read_references(chosen, stack)
    maps = map_stack(stack, mask, components, references, chosen, compare=True)
    thick = scene.thickness > 0.3
    for found in (maps.after, maps.before):
        # the fit is linear and the data have no noise but single precision
        np.testing.assert_allclose(
            found.valence[thick], scene.valence[thick], atol=0.01
        )
        assert found.edge == pytest.approx(8342, abs=3)
    assert maps.notes == ()
    alone = map_stack(stack, mask, components, references, chosen, compare=False)
    assert alone.before is None
    np.testing.assert_array_equal(alone.after.valence, maps.after.valence)


def test_no_map_is_made_that_nobody_asked_for(stack, components):
    mask = np.ones(stack.shape[1:], bool)
    asked = StackSettings()
    maps = map_stack(stack, mask, components, None, asked, compare=False)
    assert maps == (None, None, ())
    unknown = dataclasses.replace(stack, energies=None)
    assert map_stack(unknown, mask, components, None, asked, compare=True) == maps


def test_why_there_is_no_map_is_told_and_is_an_error_where_one_was_asked_for(
    scene, stack, components
):
    mask = np.ones(stack.shape[1:], bool)
    without = dataclasses.replace(components, spectra=np.ones_like(components.spectra))
    maps = map_stack(stack, mask, without, None, StackSettings(), compare=True)
    assert maps.after is maps.before is None
    assert maps.notes[0].startswith("No map of the edge energy: in the mean spectrum")
    with pytest.raises(ValueError, match="there is no step at the steepest rise"):
        map_stack(stack, mask, without, None, settings(), compare=False)

import numpy as np
import pytest

from tvjax.simulate import add_gaussian, nickel_energies, xanes_stack
from tvjax.xanes.mapping import find_edge, map_phases, normalized, References


@pytest.fixture(scope="module")
def scene():
    return xanes_stack(
        (32, 36),
        energies=nickel_energies(40),
        num_states=3,
        arrangement="gradient",
    )


@pytest.fixture(scope="module")
def references(scene):
    return References(("a", "b", "c"), scene.spectra, tuple(scene.valences))


def chart(stack, scene, **options):
    mask = np.ones(stack.shape[1:], bool)
    return map_phases(lambda rows: stack[:, rows], scene.energies, mask, **options)


def test_without_noise_every_share_is_found_whatever_lies_below(scene, references):
    line = 3 - (scene.energies - 8180)[:, None, None] / 400  # what else absorbs
    found = chart(
        scene.truth + line.astype(np.float32), scene, edge=8346.0, references=references
    )
    thick = scene.thickness > 0.2
    np.testing.assert_allclose(
        found.fractions[:, thick], scene.fractions[:, thick], atol=0.02
    )
    np.testing.assert_allclose(found.valence[thick], scene.valence[thick], atol=0.03)
    np.testing.assert_allclose(found.amount[thick], scene.thickness[thick], rtol=0.02)
    assert (found.phase[thick] >= 0).all()
    assert found.leading is found.valence and found.title == "mean valence"


def test_blocks_of_rows_make_no_difference(scene, references):
    options = {"edge": 8346.0, "references": references}
    noisy = add_gaussian(scene, 0.02)
    whole, parts = (
        chart(noisy, scene, memory=memory, **options).maps()
        for memory in (2**30, 12 * 4 * 40 * 36 * 5)
    )
    assert whole.keys() == parts.keys()
    for name in whole:
        np.testing.assert_allclose(parts[name], whole[name], rtol=1e-3, atol=1e-3)


def test_a_pixel_without_material_has_no_phase(scene, references):
    found = chart(add_gaussian(scene, 0.02), scene, edge=None, references=references)
    empty = scene.thickness == 0
    # three standard errors are exceeded by chance, and amounts are not negative
    assert np.isnan(found.valence[empty]).mean() > 0.97
    assert (found.phase[np.isnan(found.valence)] == -1).all()
    assert found.edge_energy is None and found.title == "mean valence"


def test_noise_that_the_residual_does_not_show_counts(scene, references):
    options = {"edge": None, "references": references}
    sure, unsure, few = (
        chart(scene.truth, scene, **{name: sigma}, **options)
        for name, sigma in (("sigma", 0.0), ("sigma", 0.3), ("noise", 0.3))
    )
    valid = np.isfinite(unsure.valence)
    assert valid.sum() < np.isfinite(sure.valence).sum()
    assert unsure.confidence[valid].mean() < sure.confidence[valid].mean()
    np.testing.assert_array_equal(np.isfinite(few.valence), valid)
    np.testing.assert_array_equal(few.confidence[valid], sure.confidence[valid])


def test_the_edge_rises_with_the_valence(scene):
    found = chart(scene.truth, scene, edge=8346.0)
    thick = scene.thickness > 0.2
    slope = np.polyfit(scene.valence[thick], found.edge_energy[thick], 1)[0]
    assert slope == pytest.approx(1.75, rel=0.2)
    assert found.title == "edge energy (eV)" and found.names == ()


def test_the_edge_is_found_in_either_direction(scene):
    spectrum = scene.absorption[0]
    edge = find_edge(spectrum, scene.energies)
    assert edge == find_edge(spectrum[::-1], scene.energies[::-1])
    assert 8339 < edge < 8345


def test_a_raw_spectrum_steps_from_zero_to_one(scene):
    raw = 3 + 7 * scene.absorption[0]
    found = normalized(raw, scene.energies)
    assert abs(found[:5].mean()) < 0.01
    assert found[-5:].mean() == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize(
    ("spectrum", "sentence"),
    [
        (np.zeros(5), "5 energies are too few to find an edge in"),
        (np.random.default_rng(0).normal(size=40), "there is no step at the steepest"),
    ],
)
def test_what_has_no_edge(spectrum, sentence):
    with pytest.raises(ValueError, match=sentence):
        find_edge(spectrum, np.linspace(8300, 8400, len(spectrum)))

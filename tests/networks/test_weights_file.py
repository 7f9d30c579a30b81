import jax
import numpy as np
import pytest
from jax import numpy as jnp
from safetensors.numpy import load_file, save_file

from tvjax.io import FileError
from tvjax.networks import weights_file
from tvjax.networks.weights_file import name_leaves, read_weights, write_weights

TREE = {"head": jnp.linspace(-1, 1, 6).reshape(2, 3), "rest": (jnp.ones(4) / 3,)}
SIZES = {"widths": [2], "blocks": [1]}


def build():
    """A tree of the same shapes, with other numbers."""
    return jax.tree.map(jnp.zeros_like, TREE)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "weights"
    write_weights(path, TREE, version="test 1", sizes=SIZES, facts={"by": "hand"})
    return path


def test_leaves_are_named_by_their_path():
    assert list(name_leaves(TREE)) == ["head", "rest.0"]


@pytest.mark.parametrize(("half", "rtol"), [(True, 2**-11), (False, 0)])
def test_numbers_come_back(tmp_path, half, rtol):
    path = tmp_path / "weights"
    write_weights(path, TREE, version="test 1", sizes=SIZES, facts={}, half=half)
    again = read_weights(path, version="test 1").fill(build)
    assert jax.tree.structure(again) == jax.tree.structure(TREE)
    for new, old in zip(jax.tree.leaves(again), jax.tree.leaves(TREE), strict=True):
        # half a unit of the last of 11 bits, or nothing
        np.testing.assert_allclose(new, old, rtol=rtol)
        assert new.dtype == old.dtype


@pytest.mark.parametrize("damage", [lambda c: c[:-3], lambda c: c[:-3] + b"abc"])
def test_what_the_disk_changes_gets_no_name(tmp_path, file, monkeypatch, damage):
    before = file.read_bytes()
    usual = weights_file.save
    monkeypatch.setattr(weights_file, "save", lambda *a, **k: damage(usual(*a, **k)))
    with pytest.raises(FileError, match="weights .*got no name: it "):
        write_weights(file, TREE, version="test 1", sizes=SIZES, facts={}, half=False)
    assert file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["weights"]


def test_facts_and_sizes_come_back(file):
    contents = read_weights(file, version="test 1")
    assert contents.sizes == SIZES and contents.facts["by"] == "hand"


def test_file_of_another_version_is_refused(file):
    with pytest.raises(ValueError, match="says to be 'test 1', .* reads 'test 2'"):
        read_weights(file, version="test 2")


def test_numbers_that_were_changed_are_refused(file):
    contents = read_weights(file, version="test 1")
    arrays = load_file(file)
    arrays["head"] = 2 * arrays["head"]
    save_file(arrays, file, metadata=contents.facts)
    with pytest.raises(ValueError, match="is damaged.*SHA-256 differs"):
        read_weights(file, version="test 1")


def test_sizes_that_were_changed_are_refused(file):
    contents = read_weights(file, version="test 1")
    sizes = '{"widths": [3], "blocks": [1]}'
    save_file(load_file(file), file, metadata=contents.facts | {"sizes": sizes})
    with pytest.raises(ValueError, match="is damaged.*SHA-256 differs"):
        read_weights(file, version="test 1")


@pytest.mark.parametrize(
    "build_other",
    [
        lambda: {"head": jnp.zeros((2, 3))},
        lambda: {"head": jnp.zeros((3, 2)), "rest": (jnp.ones(4),)},
        lambda: {"tail": jnp.zeros((2, 3)), "rest": (jnp.ones(4),)},
    ],
)
def test_other_names_or_shapes_are_refused(file, build_other):
    contents = read_weights(file, version="test 1")
    with pytest.raises(ValueError, match="holds the weights of another architecture"):
        contents.fill(build_other)


def test_file_without_weights_is_refused(tmp_path):
    path = tmp_path / "weights"
    path.write_bytes(b"nothing")
    with pytest.raises(ValueError, match="no whole safetensors file.*anew"):
        read_weights(path, version="test 1")


def test_an_interrupted_write_leaves_the_old_file(file, monkeypatch):
    before = file.read_bytes()

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_weights(file, build(), version="test 1", sizes=SIZES, facts={})
    assert file.read_bytes() == before

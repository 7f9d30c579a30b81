import pytest

from tvjax.settings import parse_memory


@pytest.mark.parametrize(
    ("text", "size"), [("2GB", 2e9), ("512MiB", 2**29), ("1.5g", 1.5e9), ("800", 800)]
)
def test_sizes(text, size):
    assert parse_memory(text) == size

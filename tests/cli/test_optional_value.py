import pytest

from tvjax.cli.optional_value import with_patience


@pytest.mark.parametrize(
    ("words", "filled"),
    [
        ("a -o b --watch", "a -o b --watch 60"),
        ("a --watch -o b", "a --watch 60 -o b"),
        ("--watch a -o b", "--watch 60 a -o b"),
        ("a --watch 2.5 -o b", "a --watch 2.5 -o b"),
        ("a --watch=3 -o b", "a --watch=3 -o b"),
        ("a -o b", "a -o b"),
    ],
)
def test_a_number_may_be_left_out(words, filled):
    assert with_patience(words.split()) == filled.split()

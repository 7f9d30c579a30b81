"""What `help()` says of every public name: complete, and its examples run."""

import ast
import doctest
import inspect
import re
import textwrap

import pytest

import tvjax
from tvjax import arguments

PUBLIC = {
    name: thing
    for name in tvjax.__all__
    if inspect.isclass(thing := getattr(tvjax, name)) or inspect.isroutine(thing)
}
SECTION = re.compile(r"^(\w+):$", re.MULTILINE)
CHECKS = {
    name
    for name, thing in vars(arguments).items()
    if inspect.isfunction(thing) and thing.__module__ == arguments.__name__
} - {"is_traced"}


def documentation(thing):
    """What is written of a function, or of a class and how to make one."""
    texts = [inspect.getdoc(thing) or ""]
    if inspect.isclass(thing) and "__init__" in vars(thing):
        texts.append(inspect.cleandoc(vars(thing)["__init__"].__doc__ or ""))
    return texts


def sections(thing):
    """The text below each heading."""
    found = {}
    for text in documentation(thing):
        _, *parts = SECTION.split(text)
        for heading, body in zip(parts[::2], parts[1::2], strict=True):
            found[heading] = found.get(heading, "") + textwrap.dedent(body)
    return found


def sources(thing):
    """The code that runs when a function is called, or an instance is made."""
    made = ("__init__", "__post_init__", "__check_init__")
    parts = [thing]
    if inspect.isclass(thing):
        parts = [vars(thing)[name] for name in made if name in vars(thing)]
        # what a dataclass writes has no source
        parts = [part for part in parts if part.__qualname__ != "__create_fn__"]
    for part in parts:
        try:
            yield ast.parse(textwrap.dedent(inspect.getsource(part)))
        except OSError:
            continue


def raises(thing):
    """Whether it raises an error of its own, or checks an argument."""
    return any(
        isinstance(node, ast.Raise)
        or (isinstance(node, ast.Call) and getattr(node.func, "id", "") in CHECKS)
        for tree in sources(thing)
        for node in ast.walk(tree)
    )


@pytest.mark.parametrize("name", PUBLIC)
def test_first_line_is_a_sentence(name):
    first, _, rest = documentation(PUBLIC[name])[0].partition("\n")
    assert first.endswith("."), first
    assert not rest or rest.startswith("\n"), "a blank line comes after the first"


@pytest.mark.parametrize("name", PUBLIC)
def test_every_argument_is_documented(name):
    thing = PUBLIC[name]
    found = sections(thing)
    listed = found.get("Args", "") + found.get("Attributes", "")
    # a result has the attributes of all results, which are documented there
    for base in thing.__mro__[1:] if inspect.isclass(thing) else ():
        if base.__module__.startswith("tvjax."):
            listed += sections(base).get("Attributes", "")
    documented = set(re.findall(r"^\*{0,2}(\w+):", listed, re.MULTILINE))
    wanted = set(inspect.signature(PUBLIC[name]).parameters)
    assert not wanted - documented, f"say what {sorted(wanted - documented)} are"


@pytest.mark.parametrize("name", PUBLIC)
def test_errors_are_documented(name):
    if raises(PUBLIC[name]):
        assert "Raises" in sections(PUBLIC[name])


# These choose among many methods, which take half a minute to compile.
COMPILED_LONG = {
    *("denoise_stack", "denoise_symmetric", "StackResult", "SymmetricResult"),
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow) if name in COMPILED_LONG else name
        for name in PUBLIC
    ],
)
def test_the_example_runs_and_shows_what_comes_out(name):
    text = sections(PUBLIC[name]).get("Example", "")
    example = doctest.DocTestParser().get_doctest(text, {}, name, None, None)
    assert example.examples, "give an example, in lines that begin with >>>"
    output = []
    result = doctest.DocTestRunner().run(example, out=output.append)
    assert not result.failed, "".join(output)

import pytest

from tvjax.settings import (
    parse_centre,
    parse_frames,
    parse_memory,
    parse_noise,
    Settings,
    SettingsError,
    StackSettings,
    SymmetrySettings,
    TrainingSettings,
)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("2GB", 2e9),
        ("512MiB", 2**29),
        ("1.5g", 1.5e9),
        ("800", 800),
        (" 3 kb ", 3000),
        (".5 TiB", 2**39),
        ("64b", 64),
    ],
)
def test_sizes(text, size):
    assert parse_memory(text) == size


@pytest.mark.parametrize("text", ["", "much", "0GB", "-1GB", "2XB", "1.2.3G", "GB"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(SettingsError, match="`memory` must be a size such as 2GB, got"):
        parse_memory(text)


def test_centres():
    assert parse_centre("512.5,498.25") == (512.5, 498.25)
    assert parse_centre("-3,1e2") == (-3, 100)
    assert parse_centre("auto") is parse_centre("file") is None


@pytest.mark.parametrize("text", ["", "1", "1,2,3", "a,b", "1;2"])
def test_what_is_no_centre_is_refused(text):
    with pytest.raises(SettingsError, match="`centre` must be auto, file or Y,X"):
        parse_centre(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, slice(None, None)),
        ("2:5", slice(2, 5)),
        (":5", slice(None, 5)),
        ("-3:", slice(-3, None)),
        (":", slice(None, None)),
    ],
)
def test_ranges_of_frames(text, expected):
    assert parse_frames(text) == expected


@pytest.mark.parametrize("text", ["3", "a:b", "1:2:3", "1.5:2"])
def test_what_is_no_range_is_refused(text):
    with pytest.raises(SettingsError, match="`frames` must be a range A:B such as"):
        parse_frames(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("auto", ("auto", ())),
        ("poisson", ("poisson", ())),
        ("poisson:2.5", ("poisson", (2.5,))),
        ("gaussian:3", ("gaussian", (3.0,))),
        ("mixed:1,4", ("mixed", (1.0, 4.0))),
        ("mixed:1,4,100", ("mixed", (1.0, 4.0, 100.0))),
    ],
)
def test_noise_in_words(text, expected):
    assert parse_noise(text) == expected


@pytest.mark.parametrize(
    "text", ["", "white", "auto:1", "poisson:1,2", "gaussian:x", "mixed", "mixed:1"]
)
def test_what_is_no_noise_is_refused(text):
    with pytest.raises(SettingsError, match=f"mixed:GAIN.*, got {text}"):
        parse_noise(text)


@pytest.mark.parametrize(
    ("kind", "options", "sentence"),
    [
        (
            Settings,
            {"alpha": float("inf")},
            "`alpha` must be finite and not negative, got inf",
        ),
        (
            Settings,
            {"alpha": float("nan")},
            "`alpha` must be finite and not negative, got nan",
        ),
        (Settings, {"alpha": 1.0, "per_frame": True}, "`alpha` is one number"),
        (Settings, {"noise": "loud"}, "`noise` must be"),
        (Settings, {"frames": "few"}, "`frames` must be"),
        (SymmetrySettings, {"method": "magic"}, "`method` must be orbit or network"),
        (SymmetrySettings, {"method": "network"}, "`weights` belong to the network"),
        (SymmetrySettings, {"weights": "w"}, "`weights` belong to the network"),
        (SymmetrySettings, {"average": True}, "`average` belongs to the network"),
        (SymmetrySettings, {"centre": "left"}, "`centre` must be"),
        (SymmetrySettings, {"noise": "loud"}, "`noise` must be"),
        (TrainingSettings, {"num_steps": 0}, "`num_steps` must be at least 1, got 0"),
        (TrainingSettings, {"batch": -1}, "`batch` must be at least 1, got -1"),
        (TrainingSettings, {"frames": "few"}, "`frames` must be"),
        (TrainingSettings, {"centre": "left"}, "`centre` must be"),
        (StackSettings, {"rank": 0}, "`rank` must be at least 1, got 0"),
        (StackSettings, {"axes": "YYE"}, "`axes` must name energy, row and column"),
        (StackSettings, {"dark": "d.h5"}, "`dark` is of no use without `flat`"),
        (StackSettings, {"whole_pixels": True}, "`whole_pixels` belongs to `register`"),
        (StackSettings, {"references": ("a",)}, "`references` are fitted for a `map`"),
        (StackSettings, {"noise": "loud"}, "`noise` must be"),
    ],
)
def test_settings_that_make_no_sense_are_refused(kind, options, sentence):
    with pytest.raises(SettingsError, match=sentence):
        kind(**options)


def test_settings_that_belong_together_are_taken_together():
    network = SymmetrySettings(method="network", weights="w.safetensors", average=True)
    assert network.per_frame
    stack = StackSettings(
        axes="YXE",
        flat="flat.h5",
        dark="dark.h5",
        register=True,
        whole_pixels=True,
        references=("a.txt",),
        map="map.h5",
    )
    assert stack.memory == parse_memory("2GB")
    assert Settings(alpha=2.0).alpha == 2


@pytest.mark.parametrize("other", [{"alpha": 1.0}, {"per_frame": True}])
def test_repeats_have_one_strength_that_they_choose(other):
    with pytest.raises(SettingsError, match=f"or `{next(iter(other))}`"):
        Settings(repeats=True, **other)


def test_patterns_have_no_repeats():
    with pytest.raises(SettingsError, match="judged by its own symmetry"):
        SymmetrySettings(repeats=True)

"""Measured and simulated images for the choice of a strength, and what judges it."""

import csv
from collections.abc import Callable, Iterator
from typing import NamedTuple

import h5py
import numpy as np
from jaxtyping import Bool, Float, Num

from experiments.common.measure import DATA
from tvjax.io import open_series
from tvjax.simulate import Detector, Scan

LCYSTEINE = "lcysteine_i19_pilatus2m"
REFLECTIONS = f"{LCYSTEINE}/reflections_sweep01_dials_1deg.csv"
BACKGROUNDS = (0.05, 0.5, 5.0, 30.0)
FRAMES = (1, 5, 20)
# A reflection is read where so much of its box is valid, and the box is as wide as this
# in pixels: narrower ones are pieces of a bright spot.
LEAST_VALID = 0.6
LEAST_BOX = 8


class Scene(NamedTuple):
    """Data, and an independent measurement of the same scene where there is one."""

    name: str
    y: Num[np.ndarray, "*frame height width"]
    mask: Bool[np.ndarray, "height width"]
    counts: bool  # of single photons: halves of them are independent measurements
    other: Num[np.ndarray, "height width"] | None = None
    reflections: bool = False  # whether those of the table are in it


class Reflection(NamedTuple):
    """A listed reflection: I/σ, and the rows and columns of its box."""

    significance: float
    rows: slice
    columns: slice


def measured(quick: bool) -> Iterator[tuple[str, Callable[[], Scene]]]:
    """Names of files in the folder of data, and how a scene is made of them."""
    frames = f"{LCYSTEINE}/l-cyst_01_#####.cbf.bz2"
    yield frames, lambda: _summed("L-cysteine, sum of ten", frames, 10, quick)
    yield frames, lambda: _frames("L-cysteine, single frame", frames, 1, quick)
    if quick:
        return
    yield frames, lambda: _frames("L-cysteine, five frames", frames, 5, quick)
    yield "thaumatin_i24_pilatus6m/thau_3_2_0003.cbf.bz2", _thaumatin
    eiger = "eiger9m_biocat_h5/vac_007_data_000001.h5"
    yield eiger, lambda: _frames("EIGER 9M", eiger, 1, quick)
    for name in (
        "powder_calibration/CeO2_Pilatus1M.tif.bz2",
        "powder_calibration/ceria_50x30_740mm_000005_Pilatus2M.hdf5",
    ):
        yield name, lambda name=name: _frames(name.split("/")[1], name, 1, quick)
    ccd = "saxs_symmetry/AgBehenate_003.tif.bz2"
    yield ccd, lambda: _frames("SAXS CCD", ccd, 1, quick)._replace(counts=False)
    yield "txm_nca_ssrl_ni/nca_ssrl_08324.0_eV.h5", _cathode
    yield "stxm_fe_als/71214078_aligned.h5", _iron
    yield "stxm_pollux_nxstxm/Sample_Stack_2021-03-16_128.hdf5", _pollux


def swept(
    background: float, num_frames: int, quick: bool
) -> tuple[
    Num[np.ndarray, "frame height width"],
    Float[np.ndarray, "frame height width"],
    Bool[np.ndarray, "height width"],
]:
    """Counts, truth and mask of a simulated sweep of one degree a frame.

    The spots' counts keep their ratio to the deviation of the background.
    """
    side = 192 if quick else 512
    detector = Detector(num_columns=side, num_modules=1, module_rows=side)
    scan = Scan(
        detector=detector,
        background=background,
        brightness=2000 * max(background, 0.3) ** 0.5,
        num_zingers=0,
    )
    numbers = range(90, 90 + num_frames)
    counts = np.stack([scan.counts(number) for number in numbers])
    truth = np.stack([scan.expected(number) for number in numbers])
    return np.where(scan.mask, counts, 0), truth, scan.mask


def reflections(mask: Bool[np.ndarray, "height width"]) -> list[Reflection]:
    """The listed reflections of frames 1 to 10 that the mask leaves to be read."""
    found = []
    with (DATA / REFLECTIONS).open() as file:
        for row in csv.DictReader(file):
            intensity, variance = float(row["I_sum"]), float(row["var_I_sum"])
            x0, x1, y0, y1 = (
                int(row[f"bbox_{end}"]) for end in ("x0", "x1", "y0", "y1")
            )
            rows, columns = slice(y0, y1), slice(x0, x1)
            wide = min(x1 - x0, y1 - y0) >= LEAST_BOX
            if variance > 0 and wide and np.mean(mask[rows, columns]) >= LEAST_VALID:
                significance = intensity / variance**0.5
                found.append(Reflection(significance, rows, columns))
    return found


def _read(
    name: str, num_frames: int, dataset: str | None = None
) -> tuple[Num[np.ndarray, "frame height width"], Bool[np.ndarray, "height width"]]:
    """Frames, and the pixels that are valid in all of them."""
    with open_series(str(DATA / name), dataset=dataset) as series:
        frames = list(series.frames(0, num_frames))
    mask = np.all([frame.mask for frame in frames], axis=0)
    # a pixel that the file forgets to mark may hold anything below zero
    data = np.stack([frame.data for frame in frames])
    mask &= np.all(data >= 0, axis=0)
    return np.where(mask, data, 0), mask


def _cut(scene: Scene, quick: bool) -> Scene:
    """A corner with some reflections in it, for a quick run."""
    if not quick:
        return scene
    part = np.s_[..., 640:832, 560:880]
    return scene._replace(y=scene.y[part], mask=scene.mask[part], reflections=False)


def _frames(name: str, source: str, num_frames: int, quick: bool) -> Scene:
    y, mask = _read(source, num_frames)
    return _cut(Scene(name, y[0] if num_frames == 1 else y, mask, True), quick)


def _summed(name: str, source: str, num_frames: int, quick: bool) -> Scene:
    y, mask = _read(source, num_frames)
    return _cut(Scene(name, y.sum(0), mask, True, reflections=True), quick)


def _thaumatin() -> Scene:
    """One still, judged by the background of the next: its spots are others."""
    folder = "thaumatin_i24_pilatus6m"
    (y,), mask = _read(f"{folder}/thau_3_2_0003.cbf.bz2", 1)
    (other,), both = _read(f"{folder}/thau_3_2_0004.cbf.bz2", 1)
    return Scene("thaumatin 0003", y, mask & both, True, other)


def _cathode() -> Scene:
    """One exposure, judged by the mean of two others."""
    (y, *others), mask = _read("txm_nca_ssrl_ni/nca_ssrl_08324.0_eV.h5", 3, "sample")
    return Scene("NCA, one of three", y, mask, False, np.mean(others, axis=0))


def _iron() -> Scene:
    with h5py.File(DATA / "stxm_fe_als/71214078_aligned.h5") as file:
        y = file["stack"][60]
    return Scene("STXM of iron, frame 60", y, np.ones(y.shape, bool), False)


def _pollux() -> Scene:
    name = "stxm_pollux_nxstxm/Sample_Stack_2021-03-16_128.hdf5"
    with h5py.File(DATA / name) as file:
        y = file["entry1/counter0/data"][0]
    return Scene("STXM PolLux, frame 0", y, np.ones(y.shape, bool), False)

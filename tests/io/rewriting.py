"""Files read, changed and written, as a denoising does."""

import h5py
import numpy as np

from tvjax.io import create_series, create_stack, open_series, open_stack, Provenance

STACK_PROVENANCE = Provenance(
    settings={"rank": "auto"},
    inputs=("stack.h5",),
    frames=(0, 5),
    noise={"model": "auto"},
    results={"rank": 2, "shifts": [[0.0, 1.0]] * 5, "names": ["a", "b"]},
)


def provenance(num_frames=7):
    return Provenance(
        settings={"alpha": "auto", "scale": 16},
        inputs=("scan_master.h5",),
        frames=(0, num_frames),
        noise={"model": "Poisson", "gain": 1.0},
        results={
            "alpha": (0.5,) * num_frames,
            "gap": (1e-4,) * num_frames,
            "converged": (True,) * num_frames,
        },
    )


def rewrite(
    source,
    output,
    change=lambda image: image,
    *,
    start=0,
    stop=None,
    dataset=None,
    numbered=False,
    **options,
):
    """Read, change and write; return the writer's tally."""
    with open_series(source, dataset=dataset, numbered=numbered) as series:
        stop = series.num_frames if stop is None else stop
        with create_series(output, series, start=start, stop=stop, **options) as writer:
            for frame in series.frames(start, stop):
                writer.write(change(frame.data.astype(np.float32)), frame)
            writer.finish(provenance(stop - start))
    return writer.tally


def counts_in(path):
    """Return all frames of a denoised file in counts, zero at invalid pixels."""
    with open_series(path) as series:
        scale = 1 if series.dtype.kind == "f" else 16
        return np.stack([np.where(f.mask, f.data, 0) / scale for f in series.frames()])


def tree(path):
    """Return attributes and value of everything in an HDF5 file, images apart."""
    found = {}

    def visit(name, item):
        value = item[()] if isinstance(item, h5py.Dataset) and item.ndim < 3 else None
        found[name] = (dict(item.attrs), value)

    with h5py.File(path) as file:
        file.visititems(visit)
    return found


def rewrite_stack(source, output, **options):
    """Read, double, and write."""
    with open_stack(source, **options) as stack, create_stack(output, stack) as writer:
        for frame in stack.series.frames():
            writer.write(2 * frame.data, frame)
        writer.finish(STACK_PROVENANCE)
    return output


def read(path, **options):
    """Return all frames of a file as stored."""
    with open_series(path, **options) as series:
        return np.stack([frame.data for frame in series.frames()])


def plain_stack(folder, counts):
    """Write frames to an HDF5 file without any more structure."""
    with h5py.File(folder / "stack.h5", "w") as file:
        file["images"] = counts
    return folder / "stack.h5"

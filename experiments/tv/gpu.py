"""How fast is tvjax on a GPU, and is it the same answer?

    python -m experiments.tv.gpu [--quick]

Needs JAX and this checkout, nothing else. Without a GPU it says so, and measures the
CPU on small images. The results carry the device and the date in their names.
"""

import re
from datetime import date
from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float

import tvjax
from experiments.common.measure import interleave, output_folder, parser, Record, Report
from tvjax.simulate import diffraction_image

ALPHA = 1.0
FIXED_STEPS = 200
# Float32 arrays that a step of the primal-dual iteration reads or writes. One kernel
# extrapolates: image, dual field (2) and data in, one array out. The other moves: that
# array, image, dual field and two edges of a byte a pixel in, image and dual field out.
ARRAYS_PER_STEP = 5 + 4.5 + 3
# Arrays alive at a time, copies of the loop's state and the batch's selects included.
ARRAYS_ALIVE = 24
CPU_MEMORY = 4 * 2**30
DISTINCT = 8  # frames that are simulated; larger batches repeat them


class Size(NamedTuple):
    """How much to do."""

    shapes: tuple[tuple[int, int], ...]
    batches: tuple[int, ...]
    automatic: tuple[int, ...]  # batches whose strength is chosen
    copied: int  # bytes of the array that shows the bandwidth
    repeats: int


FULL = Size(
    shapes=((1030, 1065), (2048, 2048)),
    batches=(1, 2, 4, 8, 16, 32, 64),
    automatic=(1, 8),
    copied=2**30,
    repeats=5,
)
QUICK = Size(
    shapes=((64, 64),), batches=(1, 2), automatic=(1,), copied=2**22, repeats=2
)


def frames(
    shape: tuple[int, int], count: int
) -> Float[np.ndarray, "frame height width"]:
    """Simulated diffraction images, as float32."""
    num_spots = max(3, int(300 * shape[0] * shape[1] / 1065**2))
    distinct = [
        diffraction_image(shape, num_spots=num_spots, seed=seed)[0]
        for seed in range(min(count, DISTINCT))
    ]
    repeated = [distinct[i % len(distinct)] for i in range(count)]
    return np.stack(repeated).astype(np.float32)


@partial(jax.jit, static_argnames=("tol", "max_steps", "steps_per_check"))
def solve(
    x: Float[Array, "frame height width"],
    tol: float = 1e-4,
    max_steps: int = 10_000,
    steps_per_check: int = 10,
) -> tvjax.Solution:
    """Each frame of a batch, stopping on its own."""

    def one(frame: Array) -> tvjax.Solution:
        solution = tvjax.solve(
            frame,
            ALPHA,
            tol=tol,
            max_steps=max_steps,
            steps_per_check=steps_per_check,
        )
        return solution._replace(dual=None)

    return jax.vmap(one)(x)


solve_fixed = partial(
    solve, tol=0.0, max_steps=FIXED_STEPS, steps_per_check=FIXED_STEPS
)


def agreement(device: jax.Device) -> list[Record]:
    """The same steps on the CPU in float64 and on the device."""
    records = []
    with jax.enable_x64(True):
        x = frames((256, 320), 2)
        cpu = solve_on(jax.devices("cpu")[0], x.astype(np.float64))
        for dtype in (np.float64, np.float32):
            image = solve_on(device, x.astype(dtype))
            records.append(
                {
                    "dtype": np.dtype(dtype).name,
                    "steps": FIXED_STEPS,
                    "largest difference to the CPU's float64, counts": float(
                        np.abs(image - cpu).max()
                    ),
                    "greatest count": float(x.max()),
                }
            )
    return records


def solve_on(device: jax.Device, x: np.ndarray) -> np.ndarray:
    """The image, computed on one device."""
    return np.asarray(solve_fixed(jax.device_put(x, device)).image)


def structure(device: jax.Device) -> Record:
    """What a certified solve is made of: loops, and talks with the host."""
    x = jax.device_put(frames((64, 64), 2), device)
    lowered = solve.lower(x)
    compiled = lowered.compile().as_text()
    entry = compiled[compiled.index("\nENTRY") :]
    entry = entry[: entry.index("\n}")]
    talk = r"\b(?:infeed|outfeed|send|recv|host_callback)\b|callback"
    return {
        "outermost loops": len(re.findall(r"\swhile\(", entry)),
        "loops": len(re.findall(r"\swhile\(", compiled)),
        "talks with the host": len(re.findall(talk, compiled))
        + len(re.findall(talk, lowered.as_text())),
    }


def copy_bandwidth(device: jax.Device, num_bytes: int, repeats: int) -> float:
    """Bytes per second read and written by y = x + 1."""
    x = jax.device_put(np.zeros(num_bytes // 4, np.float32), device)
    add = jax.jit(lambda x: x + 1)
    timing = interleave({"copy": lambda: add(x).block_until_ready()}, 3 * repeats)
    return 2 * num_bytes / timing["copy"].minimum


def batches_that_fit(
    device: jax.Device, shape: tuple[int, int], batches: tuple[int, ...]
) -> list[int]:
    """The batches whose arrays the device can hold."""
    memory = (device.memory_stats() or {}).get("bytes_limit", CPU_MEMORY)
    frame = 4 * ARRAYS_ALIVE * shape[0] * shape[1]
    return [batch for batch in batches if batch * frame <= memory]


def time_batches(
    device: jax.Device, shape: tuple[int, int], size: Size, bandwidth: float
) -> list[Record]:
    """Steps, milliseconds a step, and frames a second, by batch."""
    records = []
    for batch in batches_that_fit(device, shape, size.batches):
        x = jax.device_put(frames(shape, batch), device)
        timings = interleave(
            {
                "fixed": lambda x=x: jax.block_until_ready(solve_fixed(x)),
                "certified": lambda x=x: jax.block_until_ready(solve(x)),
            },
            size.repeats,
        )
        num_steps = np.asarray(solve(x).num_steps)
        step = timings["fixed"].median / FIXED_STEPS
        moved = 4 * ARRAYS_PER_STEP * x.size
        certified = timings["certified"].median
        records.append(
            {
                "frame": f"{shape[0]}x{shape[1]}",
                "batch": batch,
                "ms a step": 1e3 * step,
                "us a step and frame": 1e6 * step / batch,
                "of bandwidth": moved / step / bandwidth,
                "steps to 1e-4": int(num_steps.max()),
                "certified, ms": 1e3 * certified,
                "frames/s": batch / certified,
                "compilation, s": timings["certified"].compilation,
            }
        )
    return records


def time_automatic(
    device: jax.Device, shape: tuple[int, int], size: Size
) -> list[Record]:
    """Seconds of the whole choice of one alpha for a batch, and the denoising."""
    records = []
    for batch in size.automatic:
        x = jax.device_put(frames(shape, batch), device)
        result = tvjax.denoise(x, noise=tvjax.Poisson())
        fixed = partial(tvjax.denoise, x, noise=tvjax.Poisson(), alpha=result.alpha)
        timings = interleave(
            {
                "chosen": lambda x=x: jax.block_until_ready(
                    tvjax.denoise(x, noise=tvjax.Poisson()).image
                ),
                "given": lambda fixed=fixed: jax.block_until_ready(fixed().image),
            },
            size.repeats,
        )
        chosen, given = timings["chosen"].median, timings["given"].median
        records.append(
            {
                "frame": f"{shape[0]}x{shape[1]}",
                "batch": batch,
                "alpha": float(result.alpha),
                "evaluations": len(result.curve.alphas),
                "alpha chosen, ms": 1e3 * chosen,
                "alpha given, ms": 1e3 * given,
                "chosen / given": chosen / given,
                "frames/s": batch / chosen,
            }
        )
    return records


def main() -> None:
    """Measure the first device, and keep the tables."""
    options = parser(__doc__.splitlines()[0]).parse_args()
    device = jax.devices()[0]
    on_gpu = device.platform == "gpu"
    options.quick = options.quick or not on_gpu
    size = QUICK if options.quick else FULL
    folder = output_folder(options, __file__)
    report = Report(
        "tvjax on one device",
        device=device.device_kind,
        tvjax=tvjax.__version__,
        jax=jax.__version__,
        quick=options.quick,
    )
    if not on_gpu:
        report.say("No GPU was found: this is the CPU, on small images.")
    report.add("Agreement in float64", agreement(device))
    report.add("A certified solve as compiled", [structure(device)])
    bandwidth = copy_bandwidth(device, size.copied, size.repeats)
    report.say(f"Copy bandwidth: {bandwidth / 1e9:.4g} GB/s.")
    note = (
        f"alpha {ALPHA:g}; bandwidth: {ARRAYS_PER_STEP} float32 arrays read or written "
        "a step, over the measured copy."
    )
    batched = [
        r for shape in size.shapes for r in time_batches(device, shape, size, bandwidth)
    ]
    report.add("Batches", batched, note)
    automatic = [
        r for shape in size.shapes for r in time_automatic(device, shape, size)
    ]
    report.add("One alpha chosen for each batch", automatic)
    name = re.sub(r"\W+", "_", device.device_kind).strip("_")
    report.save(folder, f"gpu_{name}_{date.today()}")


if __name__ == "__main__":
    main()

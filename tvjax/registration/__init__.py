"""Displacements of the frames of a stack, and the stack at rest.

A shift is the displacement of a frame in pixels, (row, column): where frame i shows the
scene moved by sᵢ,

    yᵢ(r) = scene(r − sᵢ),

`shift_image(yᵢ, sᵢ)` moves it back. A pixel whose value is not finite counts as
invalid, whatever the mask says.
"""

from tvjax.registration.features import By as By
from tvjax.registration.low_rank import (
    remaining_shifts as remaining_shifts,
    shift_bound as shift_bound,
)
from tvjax.registration.pair import (
    estimate_shift as estimate_shift,
    ShiftEstimate as ShiftEstimate,
)
from tvjax.registration.register import (
    align as align,
    Aligned as Aligned,
    register as register,
    register_to as register_to,
    Registration as Registration,
)
from tvjax.registration.shifting import shift_image as shift_image, Shifted as Shifted

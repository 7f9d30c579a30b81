from .frames import (
    write_report as write_report,
)
from .outcomes import (
    refuse_report as refuse_report,
    report_frames as report_frames,
    report_stack as report_stack,
    report_symmetry as report_symmetry,
    reserve_report as reserve_report,
)
from .page import (
    PAGES as PAGES,
)
from .stack import (
    write_stack_report as write_stack_report,
)
from .symmetry import (
    write_symmetry_report as write_symmetry_report,
)

__all__ = [
    "PAGES",
    "refuse_report",
    "report_frames",
    "report_stack",
    "report_symmetry",
    "reserve_report",
    "write_report",
    "write_stack_report",
    "write_symmetry_report",
]

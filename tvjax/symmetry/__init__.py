"""A pattern's own symmetry as a source of data: orbits, their centre and their test."""

from tvjax.symmetry.agreement import (
    Agreement as Agreement,
    judge_symmetry as judge_symmetry,
    Refused as Refused,
)
from tvjax.symmetry.centre import Centre as Centre, find_centre as find_centre
from tvjax.symmetry.choice import Choice as Choice, choose_symmetry as choose_symmetry
from tvjax.symmetry.denoise import denoise_symmetric as denoise_symmetric
from tvjax.symmetry.groups import (
    find_group as find_group,
    Group as Group,
    GROUPS as GROUPS,
    Operation as Operation,
)
from tvjax.symmetry.orbits import (
    Orbit as Orbit,
    orbit_mean as orbit_mean,
    Partners as Partners,
    partners as partners,
)
from tvjax.symmetry.result import SymmetricResult as SymmetricResult
from tvjax.symmetry.symmetrized import Symmetrized as Symmetrized

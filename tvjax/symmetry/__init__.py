"""A pattern's own symmetry as a source of data: orbits, their centre and their test."""

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

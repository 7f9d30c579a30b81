"""How the tests check shapes and types of every call into the package."""

from beartype import beartype, BeartypeConf

# an int is welcome where a float is (PEP 484)
check = beartype(conf=BeartypeConf(is_pep484_tower=True))

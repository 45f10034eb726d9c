"""The tests, and the type checker behind jaxtyping in them (pyproject.toml names it).

This file also makes the folder a package: otherwise one of that name in site-packages would win.
"""

from beartype import BeartypeConf, beartype

# As PEP 484 has it, and mypy: an int is good where a float is asked for, `weight=3` like `3.0`.
check = beartype(conf=BeartypeConf(is_pep484_tower=True))

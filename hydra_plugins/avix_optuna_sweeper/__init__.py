"""The Hydra sweeper ``hydra/sweeper: avix_optuna``; docs/sweeps.md is its manual.

``hydra_plugins`` has no ``__init__.py``: Hydra finds sweepers only in a namespace package. Hydra
imports every module of it at each start, but for those whose name begins with an underscore; so
what needs Optuna lies in those.
"""

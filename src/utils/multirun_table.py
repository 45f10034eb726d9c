"""The former place of :mod:`src.sweeps.multirun_table`, which users' configs and scripts name."""

from src.sweeps.multirun_table import MultirunTable, main

__all__ = ["MultirunTable"]

if __name__ == "__main__":
    main()

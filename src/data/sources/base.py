"""What every source of data sets has in common."""

from pathlib import Path
from typing import Protocol, runtime_checkable


@runtime_checkable
class Source(Protocol):
    """Makes one VIMH data set: a generator with its recipe, or an importer.

    The data module calls :meth:`make` where the data set is missing, in one process, under a file
    lock, and again where it is there, to hear whether it is the right one. A source writes
    atomically (`src.vimh.records.DatasetWriter`), so that an interrupted run leaves nothing that
    looks like a data set.
    """

    @property
    def dataset_dir(self) -> Path:
        """The directory that :meth:`make` writes, known before it is made."""
        ...

    def make(self) -> None:
        """Write the data set to :attr:`dataset_dir`; leave one alone that is there and is the same.

        Raises:
            ValueError: The recipe is wrong, or another data set has this name already.
        """
        ...

"""Sources, which make missing data sets, and what they have in common."""

from pathlib import Path
from typing import Protocol, runtime_checkable


@runtime_checkable
class Source(Protocol):
    """Makes one VIMH data set: a generator with its recipe, or an importer.

    The data module calls :meth:`make` if the data set is missing, in one process, under a file
    lock; if it exists, the call checks that it is the right one. A source writes atomically
    (`src.vimh.records.DatasetWriter`), so that an interrupted run leaves no partial data set.
    """

    @property
    def dataset_dir(self) -> Path:
        """The directory that :meth:`make` writes, known before it is made."""
        ...

    def make(self) -> None:
        """Write the data set to :attr:`dataset_dir`; keep an existing one that is the same.

        Raises:
            ValueError: The recipe is wrong, or another data set has this name.
        """
        ...

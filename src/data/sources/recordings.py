"""The source that imports somebody's recordings or images with their labels."""

from dataclasses import dataclass

from src.recordings.importing import import_recordings
from src.recordings.settings import ImportSettings
from src.utils.pylogger import RankedLogger

log = RankedLogger(__name__, rank_zero_only=True)


@dataclass(frozen=True, kw_only=True)
class RecordingsSource(ImportSettings):
    """Imports what its settings name; see :class:`~src.recordings.settings.ImportSettings`."""

    def make(self) -> None:
        """Import; keep a data set that was imported of the same files, labels and settings.

        Raises:
            VIMHError: Something cannot be used, or the data set is of something else.
        """
        report = import_recordings(self)
        if report.made:
            log.info(f"wrote {report.dataset_dir}: {len(report.metadata.parameters)} parameters")

"""A preparation standardised on samples of a data set, whose levels are checked before that."""

import numpy as np
import torch
from jaxtyping import Int64

from src.data.splits import some_of
from src.data.stores import DiskStore
from src.inputs.auxiliary import AuxiliaryFeatures
from src.inputs.preparation import Preparation
from src.vimh.records import OpenedDataset

MAX_FIT_SAMPLES = 16384
LEVELS_LOOKED_AT = 64  # of each file, when a data set is opened


def check_dataset_levels(features: AuxiliaryFeatures, dataset: OpenedDataset) -> None:
    """Check the levels of some samples of each file, at the same cost for a data set of any size.

    Raises:
        ConfigError: As :meth:`AuxiliaryFeatures.check_levels`.
    """
    for records in (dataset.train, dataset.test):
        some = np.linspace(0, max(0, len(records) - 1), min(len(records), LEVELS_LOOKED_AT))
        levels = np.array(records.scale_factors[some.astype(np.intp)])
        features.check_levels(levels, str(records.path))


def fit_preparation(
    preparation: Preparation, disk: DiskStore, samples: Int64[np.ndarray, "N"], seed: int
) -> Preparation:
    """Fit a preparation's means and deviations to samples, to some of them if there are many.

    Args:
        preparation: is changed and returned.
        disk: the samples' files.
        samples: the numbers of the training samples, at least one.
        seed: of the choice of 16384 samples.

    Raises:
        ConfigError: A sample has no level in dB.
    """
    images, _, scale = disk.read(some_of(samples, MAX_FIT_SAMPLES, seed))
    where = " and ".join(str(records.path) for records in disk.records)
    preparation.auxiliary.check_levels(scale, where)
    return preparation.fit(torch.from_numpy(images), torch.from_numpy(scale))

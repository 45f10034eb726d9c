"""One data module for every VIMH data set."""

import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, cast

import numpy as np
import torch
from annotated_types import Interval, Len
from lightning.pytorch import LightningDataModule
from lightning.pytorch.loops.progress import _ProcessedTracker

from src.data import splits
from src.data.dataset_files import DatasetFiles
from src.data.loader import EpochOrder, OrderedBatches, SplitBatches, StatefulLoader, Transform
from src.data.sources import Source
from src.data.splits import Splits
from src.data.stores import (
    RESIDENCIES,
    DiskStore,
    Residence,
    check_dataset_levels,
    count_shared_images,
    fit_preparation,
    resolve_residency,
)
from src.inputs.batch import IndexBatch, RawBatch
from src.inputs.preparation import Preparation
from src.inputs.preparation_settings import (
    AugmentationConfig,
    AuxiliaryFeatureNames,
    ChannelPatterns,
    FeatureConfig,
    FeatureTypes,
    PreparationSettings,
)
from src.schema.arguments import check_arguments
from src.schema.bounds import Count, NonNegative, OneOf, Seed, Share, Text
from src.utils.errors import ConfigError
from src.utils.pylogger import RankedLogger
from src.utils.utils import check_seed
from src.vimh.metadata import Metadata
from src.vimh.records import Check, OpenedDataset

log = RankedLogger(__name__, rank_zero_only=True)

VALIDATE = ("fast", "full")


class VIMHDataModule(LightningDataModule):
    """Batches of a VIMH data set for training, validation and testing.

    Training, validation and test samples are disjoint, except in AVIX mode, which tests on its
    validation samples and says so. Disjoint samples may still look alike: with per-sample
    scaling the images of the 72-sample grid do not show velocity, so that a test image often
    equals a training image (only the scale factors differ); :meth:`setup` logs how many.

    Args:
        data_dir: the data set's directory; None: the one that `source` makes.
        batch_size: samples of a batch, on each device.
        num_workers: loader processes. A batch is one gather, so 0 is usually fastest.
        pin_memory: page-locked batches, for CUDA.
        persistent_workers: keep the loader processes between epochs.
        train_transform: changes uint8 training images (B, C, H, W); None: none. The batch's own
            samples seed the random numbers that it draws from torch.
        val_transform, test_transform: the same for validation and testing.
        target_width: standard deviation of soft targets in classes, which the heads make; 0: none.
        train_val_test_split: shares of both files together; without `use_random_split` the
            second one is validation's share of the train file. Groups stay whole.
        use_random_split: split both files at random; False, and where the labels of recordings
            said what trains and tests: the files' own split.
        feature_types, feature_config, auxiliary_features, channel_selection, augmentation: see
            :class:`~src.inputs.preparation_settings.PreparationSettings`.
        avix_training_mode: train on all but a tenth, which validates and tests.
        source: makes the data set where it is missing.
        seed: of the split and of the samples that standardise the features.
        validate: "fast": sizes and a few records; "full": every header, label and checksum.
        residency: where the samples are kept: "auto", "disk", "ram" or "device".
        shuffle_block: samples that stay together when training samples are read from "disk" in
            random order; 0: none; None: only in a data set too large for memory
            (:func:`~src.data.stores.resolve_block_size`).

    Raises:
        ConfigError: An argument is wrong, or contradicts another.
    """

    def __init__(
        self,
        data_dir: Text | Path | None = None,
        batch_size: Annotated[int, Interval(ge=1, le=2**24)] = 128,
        num_workers: Annotated[int, Interval(ge=0, le=128)] = 0,
        pin_memory: bool = False,
        persistent_workers: bool = False,
        train_transform: Transform | None = None,
        val_transform: Transform | None = None,
        test_transform: Transform | None = None,
        target_width: NonNegative = 0.0,
        train_val_test_split: Annotated[Sequence[Share], Len(3, 3)] = (0.7, 0.2, 0.1),
        use_random_split: bool = True,
        feature_types: FeatureTypes | None = None,
        feature_config: FeatureConfig | None = None,
        auxiliary_features: AuxiliaryFeatureNames | None = None,
        avix_training_mode: bool = False,
        channel_selection: ChannelPatterns | None = None,
        source: Source | None = None,
        seed: Seed = 42,
        validate: Annotated[str, OneOf(VALIDATE)] = "fast",
        residency: Annotated[str, OneOf(RESIDENCIES)] = "auto",
        augmentation: AugmentationConfig | None = None,
        shuffle_block: Count | None = None,
    ) -> None:
        super().__init__()
        given = {
            "batch_size": batch_size,
            "num_workers": num_workers,
            "target_width": target_width,
            "validate": validate,
            "residency": residency,
            "shuffle_block": shuffle_block,
        }
        check_arguments(VIMHDataModule, given, "data", complete=False)
        self._files = DatasetFiles(data_dir, source, cast(Check, validate))
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.seed = check_seed(seed, "data.seed")
        self.target_width = float(target_width)
        self.pin_memory = pin_memory
        self.persistent_workers = persistent_workers
        self.transforms = {"train": train_transform, "val": val_transform, "test": test_transform}
        self.shares = splits.check_shares(train_val_test_split)
        self.use_random_split = use_random_split
        self.avix_training_mode = avix_training_mode
        self.preparation_settings = PreparationSettings(
            feature_types, feature_config, auxiliary_features, channel_selection, augmentation
        )
        self.residency = residency
        self.shuffle_block = shuffle_block
        self._check_combinations()
        # Of training samples; None: the global seed (`seed_everything`), or `seed` without one.
        self.order_seed: int | None = None
        self._residence: Residence | None = None

    def _check_combinations(self) -> None:
        if self.persistent_workers and self.num_workers == 0:
            raise ConfigError(
                "data.persistent_workers needs processes to keep: set data.num_workers above 0, or "
                "persistent_workers to false"
            )
        if self.residency == "device" and any(self.transforms.values()):
            raise ConfigError(
                "data.residency=device leaves no place for a transform: use ram or disk, or no "
                "train_transform, val_transform and test_transform"
            )
        if self.shuffle_block and self.residency in ("ram", "device"):
            raise ConfigError(
                f"data.shuffle_block is {self.shuffle_block}, and data.residency="
                f"{self.residency} shuffles all samples at once: set data.shuffle_block=null, or "
                "data.residency=disk"
            )

    def prepare_data(self) -> None:
        """Make the data set if it is missing: one process, under a file lock; the others wait.

        Raises:
            ConfigError: It is missing and there is no source, or the source makes another one.
        """
        self._files.make_if_missing()

    @property
    def data_dir(self) -> Path:
        """The data set's directory."""
        return self._files.data_dir

    @property
    def opened(self) -> OpenedDataset:
        """The opened data set; if it is missing, it is made first."""
        return self._files.opened

    @property
    def metadata(self) -> Metadata:
        """The description of the data set."""
        return self.opened.metadata

    @cached_property
    def splits(self) -> Splits:
        """Which samples train, validate and test; the test file's follow the train file's."""
        own, avix = self._uses_files_split, self.avix_training_mode
        return splits.splits_of(self.opened, self.shares, self.seed, own=own, avix=avix)

    @property
    def _uses_files_split(self) -> bool:
        asked = not self.use_random_split and not self.avix_training_mode
        return asked or self.metadata.raw.get(splits.SPLIT_KEY) == splits.GIVEN

    @property
    def num_classes(self) -> dict[str, int]:
        """Number of classes of each head."""
        return {name: p.num_classes for name, p in self.metadata.parameters.items()}

    @property
    def heads_config(self) -> dict[str, int]:
        """:attr:`num_classes`, by the name that networks use."""
        return self.num_classes

    @property
    def param_ranges(self) -> dict[str, float]:
        """`max − min` of each head, in the parameter's unit."""
        return {name: p.range for name, p in self.metadata.parameters.items()}

    @property
    def param_bounds(self) -> dict[str, tuple[float, float]]:
        """`(min, max)` of each head, in the parameter's unit."""
        return {name: (p.min, p.max) for name, p in self.metadata.parameters.items()}

    @property
    def class_names(self) -> dict[str, tuple[str, ...]]:
        """Names of each head's classes; of a head without names, the values at their centres."""
        return {
            name: p.class_names
            or tuple(f"{value:g}" for value in p.value_of_class(np.arange(p.num_classes)))
            for name, p in self.metadata.parameters.items()
        }

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Shape (C, H, W) of the image that a network sees, with derived and selected channels."""
        return self.build_preparation(fit=False).image_shape

    def build_preparation(self, fit: bool = True) -> Preparation:
        """Build the module that makes the network's input of the stored bytes.

        Args:
            fit: whether to take the means and deviations from at most 16384 seeded training
                samples; False where they come from a checkpoint.

        Raises:
            ConfigError: A feature or channel is not available, or there is nothing to fit to.
        """
        preparation = Preparation(self.metadata, self.preparation_settings)
        check_dataset_levels(preparation.auxiliary, self._disk_store())
        if not fit or not preparation.needs_fit:
            return preparation
        if len(self.splits.train) == 0:
            raise ConfigError(
                "data.auxiliary_features and augmentation.normalise are standardised on training "
                "samples, and data.train_val_test_split leaves none: give its first more than 0"
            )
        return fit_preparation(preparation, self._disk_store(), self.splits.train, self.seed)

    def get_dataset_info(self) -> dict[str, Any]:
        """Describe the data set and its splits as plain data.

        `num_train_samples` and `num_test_samples` count the files where the files' own split is
        used; `split_sizes` always counts what is trained, validated and tested on.
        """
        sizes = self.splits.sizes
        own_split = self._uses_files_split
        metadata = self.metadata
        return {
            "dataset_name": metadata.dataset_name or self.data_dir.name,
            "data_dir": str(self.data_dir),
            "num_train_samples": len(self.opened.train) if own_split else sizes["train"],
            "num_val_samples": sizes["val"],
            "num_test_samples": len(self.opened.test) if own_split else sizes["test"],
            "split_sizes": sizes,
            "image_shape": self.image_shape,
            "channel_labels": self.build_preparation(fit=False).channel_labels,
            "heads_config": self.heads_config,
            "parameter_names": list(metadata.parameters),
            "sample_rate": metadata.sample_rate,
            "duration": metadata.duration,
            "synth_type": metadata.synth_type,
        }

    def setup(self, stage: str | None = None) -> None:
        """Open the data set, split it and load it where it is kept, once for all stages."""
        device = self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
        if self._residence is not None and self._residence.device == device:
            return
        self.build_preparation(fit=False)  # raises what is wrong with the features
        disk = self._disk_store()
        place = resolve_residency(self.residency, disk.image_bytes, device)
        if place == "device" and any(self.transforms.values()):
            place = "ram"
        self._residence = Residence(disk, place, device)
        if self.avix_training_mode:
            log.warning("AVIX mode: testing uses the validation samples, so it is not independent")
        elif equal := self.count_shared_images():
            log.warning(
                f"{equal} of {len(self.splits.test)} test images also occur in training, pixel for "
                "pixel; their samples differ in label or level"
            )

    def _disk_store(self) -> DiskStore:
        return DiskStore((self.opened.train, self.opened.test))

    def count_shared_images(self) -> int:
        """Count the test images that equal a training image; 0 if there are too many to compare."""
        return count_shared_images(self._disk_store(), self.splits.train, self.splits.test)

    def train_dataloader(self) -> StatefulLoader:
        """Return shuffled batches; only (seed, epoch, rank) decide their order."""
        return self._loader("train")

    def val_dataloader(self) -> StatefulLoader | list[StatefulLoader]:
        """Return batches of the validation samples; no loader if their share is 0."""
        return self._loader("val") if len(self.splits.val) else []

    def test_dataloader(self) -> StatefulLoader:
        """Return batches of the test samples."""
        return self._loader("test")

    def _loader(self, stage: str) -> StatefulLoader:
        indices = self.splits[stage]
        if len(indices) == 0:
            raise ConfigError(
                f"data.train_val_test_split {list(self.shares)} leaves no samples for {stage}: "
                "give that share more than 0"
            )
        trainer, training = self.trainer, stage == "train"
        global_seed = int(os.environ.get("PL_GLOBAL_SEED", self.seed))
        residence = self._residence_now()
        order = EpochOrder(
            len(indices),
            training=training,
            shuffle=not (trainer and trainer.overfit_batches),  # type: ignore[attr-defined]
            seed=global_seed if self.order_seed is None else self.order_seed,
            rank=trainer.global_rank if trainer else 0,
            world_size=trainer.world_size if trainer else 1,
            block_size=residence.block_size(self.shuffle_block) if training else 0,
        )
        # The last small batch is dropped only in training, and not from a very small set.
        drop_last = training and len(order) > 2 * self.batch_size
        workers = 0 if residence.on_device else self.num_workers
        return StatefulLoader(
            SplitBatches(residence.store, indices, self.transforms[stage], residence.on_device),
            OrderedBatches(order, self.batch_size, drop_last),
            trained=self._batches_trained if trainer and training else None,
            num_workers=workers,
            pin_memory=self.pin_memory,
            persistent_workers=self.persistent_workers and workers > 0,
        )

    def _residence_now(self) -> Residence:
        self.setup()
        assert self._residence is not None
        return self._residence

    def _batches_trained(self) -> int:
        assert self.trainer is not None
        progress = self.trainer.fit_loop.epoch_loop.batch_progress.current
        return cast(_ProcessedTracker, progress).processed

    def raw_batches(self, split: str, limit: int | None = None) -> Iterator[RawBatch]:
        """Yield batches of a split on the CPU, in the split's own order and without transforms.

        With a limit, no more samples than that, chosen at random by `seed`.
        """
        indices = splits.some_of(self.splits[split], limit, self.seed)
        store = self._residence_now().store
        for start in range(0, len(indices), self.batch_size):
            yield store.gather(torch.from_numpy(indices[start : start + self.batch_size]))

    def transfer_batch_to_device(
        self, batch: Any, device: torch.device, dataloader_idx: int
    ) -> Any:
        """Move a batch to the device, or pick it there where the samples are kept there."""
        if isinstance(batch, IndexBatch):
            return self._residence_now().copy_on(device).gather(batch.indices)
        if not isinstance(batch, RawBatch):
            return super().transfer_batch_to_device(batch, device, dataloader_idx)
        if batch.images.device == device:
            return batch
        return RawBatch(*(part.to(device, non_blocking=True) for part in batch))

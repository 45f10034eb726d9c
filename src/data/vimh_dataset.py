"""One file of a VIMH data set, sample by sample, for people and plain loaders."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor
from torch.utils.data import Dataset

from src.data.stores import DiskStore, fit_preparation, normalised
from src.inputs.batch import RawBatch, Sample
from src.inputs.preparation import Preparation
from src.inputs.preparation_settings import FeatureConfig, PreparationSettings
from src.inputs.targets import Target, TargetMaker, target_kind
from src.utils.errors import ConfigError
from src.vimh.metadata import Metadata
from src.vimh.parameters import MAX_BYTE, ParameterSpace
from src.vimh.records import Check, Records, data_file

CHUNK = 4096  # samples read at once for statistics
FIT_SEED = 42


class VIMHDataset(Dataset[Sample]):
    """The train or the test file of a data set.

    `dataset[i]` is a finished `(image, labels, auxiliary)`: a float32 image (C, H, W) in 0…1, a
    dict of parameter name → class index, distribution or normalised value, and the standardised
    auxiliary features or None. It works in any `DataLoader`. Training uses whole batches
    (:meth:`gather`), which is many times faster.

    Args:
        data_path: the data set's directory.
        train: the train file; False: the test file.
        transform: applied to the finished image.
        target_transform: applied to the dict of stored bytes, name → 0…255, before they become
            classes, distributions or normalised values. A whole number that it returns under a
            parameter's name is a byte; anything else stays as it is. Where the data set has
            exact values, a byte that it returns unchanged stands for the exact one.
        target_width: standard deviation of soft targets in classes; 0: class indices.
        feature_types, feature_config, auxiliary_features, channel_selection: see
            :class:`~src.inputs.preparation_settings.PreparationSettings`; the auxiliary features
            are standardised on this file's own samples (at most 16384 of them).
        target_kinds: "index", "distribution" or "value" for each parameter; None: indices, or
            distributions where `target_width` is positive.
        validate: "fast": sizes and a few records; "full": every header, label and checksum.

    Raises:
        VIMHError: The data set is missing or is not what its metadata says.
        ConfigError: A feature, channel or target is not available.
    """

    def __init__(
        self,
        data_path: str | Path,
        train: bool = True,
        transform: Callable[[Tensor], object] | None = None,
        target_transform: Callable[[dict[str, int]], object] | None = None,
        target_width: float | int = 0.0,
        feature_types: Sequence[str] | None = None,
        feature_config: FeatureConfig | None = None,
        auxiliary_features: Sequence[str] | None = None,
        *,
        channel_selection: Sequence[str] | None = None,
        target_kinds: Mapping[str, str] | None = None,
        validate: Check = "fast",
    ) -> None:
        self.data_path = Path(data_path)
        self.train = train
        self.transform = transform
        self.target_transform = target_transform
        self.metadata = Metadata.load(self.data_path)
        path = data_file(self.data_path, "train" if train else "test")
        self.records = Records.open(path, self.metadata, check=validate)
        self.target_width = float(target_width)
        self.targets = self._wanted(target_kinds or {})
        self._make_targets = TargetMaker(self.targets)
        self._store = DiskStore((self.records,))
        settings = PreparationSettings(
            feature_types, feature_config, auxiliary_features, channel_selection
        )
        self.preparation = Preparation(self.metadata, settings)
        if self.preparation.needs_fit and len(self):
            fit_preparation(self.preparation, self._store, np.arange(len(self)), FIT_SEED)

    def _wanted(self, asked: Mapping[str, str]) -> list[Target]:
        if unknown := sorted(asked.keys() - self.parameters.keys()):
            raise ConfigError(
                f"target_kinds names {', '.join(unknown)}, but the data set's parameters are "
                f"{', '.join(self.parameters)}"
            )
        width = self.target_width
        return [
            Target(p, target_kind(p, asked.get(name, "index"), width), width)
            for name, p in self.parameters.items()
        ]

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Sample:
        if not -len(self) <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)} in {self.records.path}")
        place = index % len(self)
        batch = self.preparation.prepare_batch(self.gather(np.array([place], dtype=np.int64)))
        image = batch.images[0]
        return Sample(
            image if self.transform is None else self.transform(image),
            self._labels(batch.values[0]) if self.target_transform is None else self._target(place),
            None if batch.auxiliary is None else batch.auxiliary[0],
        )

    def _labels(self, values: Float[Tensor, " P"]) -> dict[str, Any]:
        """Make the labels of one sample, numbers where they are numbers."""
        made = zip(self.targets, self._make_targets(values[None]), strict=True)
        return {
            target.parameter.name: label[0] if target.kind == "distribution" else label.item()
            for target, label in made
        }

    def _target(self, place: int) -> object:
        """Apply `target_transform` to a sample's bytes; bytes that it returns become labels."""
        assert self.target_transform is not None
        bytes_P = self.records.labels[place].copy()
        asked = dict(zip(self.parameters, bytes_P.tolist(), strict=True))
        given = self.target_transform(asked)
        if not isinstance(given, Mapping):
            return given
        returned: dict[str, Any] = dict(given)
        changed = {n: v for n, v in returned.items() if n in self.parameters and _is_whole(v)}
        for name, value in changed.items():
            if not 0 <= value <= MAX_BYTE:
                raise ConfigError(
                    f"target_transform returned {value} for {name!r}; expected a stored byte, 0 to "
                    f"{MAX_BYTE}, like the one it got ({asked[name]})"
                )
            bytes_P[self.parameters.index(name)] = int(value)
        values = torch.from_numpy(bytes_P) / 255.0
        if self.records.values is not None:  # a byte that was not changed has its exact value
            same = torch.from_numpy(bytes_P == self.records.labels[place])
            values = torch.where(same, self.gather(np.array([place])).values[0], values)
        labels = self._labels(values)
        return returned | {name: labels[name] for name in changed}

    def gather(self, indices: Int64[np.ndarray, "B"] | Int64[Tensor, "B"]) -> RawBatch:
        """Read a whole batch at once, as stored: uint8 images, normalised values, scale factors."""
        return self._store.gather(torch.as_tensor(indices))

    @property
    def parameters(self) -> ParameterSpace:
        """The parameters that vary, in the order of the labels."""
        return self.metadata.parameters

    @property
    def parameter_mappings(self) -> dict[str, dict[str, object]]:
        """The metadata's entry of every parameter that varies."""
        return self.parameters.to_json()

    def get_image_shape(self) -> tuple[int, int, int]:
        """Return the shape (C, H, W) of an item's image before `transform`."""
        return self.preparation.image_shape

    def get_heads_config(self) -> dict[str, int]:
        """Return the number of classes of each head."""
        return {name: p.num_classes for name, p in self.parameters.items()}

    def get_parameter_info(self, name: str) -> dict[str, object]:
        """Return the metadata's entry of one parameter, with its number of classes.

        Raises:
            ConfigError: There is no such parameter.
        """
        if name not in self.parameters:
            raise ConfigError(
                f"no parameter {name!r} in {self.data_path}; there are {', '.join(self.parameters)}"
            )
        parameter = self.parameters[name]
        return {"name": name, **parameter.to_json(), "num_classes": parameter.num_classes}

    def get_class_distribution(self) -> dict[str, dict[int, int]]:
        """Count the samples of each class of each head; empty classes are left out."""
        make_classes = TargetMaker([Target(p, "index") for p in self.parameters.values()])
        counts: dict[str, Counter[int]] = {name: Counter() for name in self.parameters}
        for start in range(0, len(self), CHUNK):
            indices = np.arange(start, min(start + CHUNK, len(self)))
            classes = make_classes(normalised(torch.from_numpy(self.records.targets_at(indices))))
            for name, own in zip(counts, classes, strict=True):
                counts[name].update(own.tolist())
        return {name: dict(sorted(found.items())) for name, found in counts.items()}

    def get_dataset_statistics(self) -> dict[str, object]:
        """Compute statistics of pixels (0…255, by channel) and parameters.

        Returns:
            The keys of :meth:`get_dataset_info`, and `train_mode`, `class_distribution`,
            `transforms` (whether there are any), `channels` (mean, std, min and max of the bytes),
            `parameters` (the same of the values, in their units), and `parameter_statistics`, the
            range of each parameter (`min_actual`, `max_actual`) and the bytes that occur in it.
        """
        labels = self.metadata.channel_labels
        total = np.zeros(len(labels))
        squares = np.zeros(len(labels))
        low, high = np.full(len(labels), 255), np.zeros(len(labels), dtype=np.int64)
        for start in range(0, len(self), CHUNK):
            images = self.records.images[start : start + CHUNK]
            low = np.minimum(low, images.min(axis=(0, 2, 3)))
            high = np.maximum(high, images.max(axis=(0, 2, 3)))
            total += images.sum(axis=(0, 2, 3), dtype=np.float64)
            squares += np.square(images, dtype=np.float64).sum(axis=(0, 2, 3))
        count = max(1, len(self)) * self.metadata.height * self.metadata.width
        mean = total / count
        deviation = np.sqrt(np.maximum(squares / count - mean**2, 0))
        figures = zip(labels, mean, deviation, low, high, strict=True)
        values = self.records.values_at(np.arange(len(self)))
        return {
            **self.get_dataset_info(),
            "train_mode": self.train,
            "class_distribution": self.get_class_distribution(),
            "transforms": {
                "image_transform": self.transform is not None,
                "target_transform": self.target_transform is not None,
            },
            "parameter_statistics": {name: self._byte_statistics(name) for name in self.parameters},
            "channels": {
                label: {"mean": float(m), "std": float(s), "min": int(lo), "max": int(hi)}
                for label, m, s, lo, hi in figures
            },
            "parameters": {
                name: _value_statistics(own)
                for name, own in zip(self.parameters, values.T, strict=True)
            },
        }

    def _byte_statistics(self, name: str) -> dict[str, object]:
        parameter, column = self.parameters[name], self.parameters.index(name)
        stored = np.unique(self.records.labels[:, column])
        return {
            "description": parameter.description,
            "min_quantized": int(stored[0]) if len(stored) else None,
            "max_quantized": int(stored[-1]) if len(stored) else None,
            "min_actual": parameter.min,
            "max_actual": parameter.max,
            "unique_values": len(stored),
            "total_samples": len(self),
        }

    def get_dataset_info(self) -> dict[str, object]:
        """Describe the data set as plain data; `metadata_format` is the JSON as it was read."""
        metadata = self.metadata
        return {
            "dataset_name": metadata.dataset_name or self.data_path.name,
            "data_path": str(self.data_path),
            "train": self.train,
            "num_samples": len(self),
            "image_shape": self.get_image_shape(),
            "channel_labels": list(self.preparation.channel_labels),
            "parameter_names": list(self.parameters),
            "heads_config": self.get_heads_config(),
            "fixed_parameters": metadata.fixed_parameters,
            "sample_rate": metadata.sample_rate,
            "duration": metadata.duration,
            "synth_type": metadata.synth_type,
            "metadata_format": metadata.to_json(),
        }


def _value_statistics(values: Float64[np.ndarray, "N"]) -> dict[str, float]:
    if len(values) == 0:
        return {}
    figures = {"min": values.min(), "max": values.max(), "mean": values.mean()}
    return {key: float(figure) for key, figure in {**figures, "std": values.std()}.items()}


def _is_whole(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def create_vimh_datasets(
    data_dir: str | Path,
    transform: Callable[[Tensor], object] | None = None,
    target_transform: Callable[[dict[str, int]], object] | None = None,
    target_width: float | int = 0.0,
    **arguments: Any,
) -> tuple[VIMHDataset, VIMHDataset]:
    """Open the train and the test file of a data set with the same arguments of `VIMHDataset`."""
    train, test = (
        VIMHDataset(data_dir, is_train, transform, target_transform, target_width, **arguments)
        for is_train in (True, False)
    )
    return train, test

"""Where a data set's samples are kept during training: in files, in memory or on the device."""

import os
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int64, Shaped, UInt8
from torch import Tensor

from src.data.splits import some_of
from src.inputs.auxiliary import AuxiliaryFeatures
from src.inputs.batch import RawBatch
from src.inputs.preparation import Preparation
from src.utils.pylogger import RankedLogger
from src.vimh.records import Records

log = RankedLogger(__name__, rank_zero_only=True)

Residency = Literal["disk", "ram", "device"]
RESIDENCIES = ("auto", "disk", "ram", "device")

# "auto": what a data set may take of the device's free memory, and of the main memory.
DEVICE_SHARE = 0.25
RAM_BYTES = 512 * 2**20
PAGE_CACHE_SHARE = 0.5  # of the main memory: a larger file is not expected to stay in it
BLOCK_BYTES = 2**20  # of a block shuffle: some of the system's read-aheads
MAX_COMPARED = 16384  # samples up to which equal training and test images are looked for
READ_CHUNK = 4096  # samples read at once when a data set is brought into memory
MAX_FIT_SAMPLES = 16384
LEVELS_LOOKED_AT = 64  # of each file, when a data set is opened


class DiskStore:
    """Reads each batch from memory-mapped files, whose samples are numbered consecutively."""

    def __init__(self, records: Sequence[Records]) -> None:
        self.records = tuple(records)
        self._starts = np.cumsum([0, *(len(r) for r in self.records)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    @property
    def image_bytes(self) -> int:
        """Bytes of all pixels."""
        return sum(records.images.nbytes for records in self.records)

    def gather(self, indices: Int64[Tensor, "B"]) -> RawBatch:
        """Read the samples `indices`, in this order."""
        images, labels, scale = map(torch.from_numpy, self.read(indices.numpy()))
        return RawBatch(images, normalised(labels), scale)

    def read(
        self, indices: Int64[np.ndarray, "B"]
    ) -> tuple[UInt8[np.ndarray, "B C H W"], Shaped[np.ndarray, "B P"], Float[np.ndarray, "B 2"]]:
        """Read the samples `indices` as stored: images, labels and scale factors.

        Labels are bytes, or exact values normalised to 0…1 in float32.
        """
        if len(self.records) == 1 or len(indices) == 0:
            return self.records[0].gather_targets(indices)
        assert 0 <= indices.min() <= indices.max() < len(self), "a split names no sample"
        # Read all from the largest file, then overwrite what belongs to the others: this copies
        # most samples once, where sorting by file would copy all of them three times.
        largest = int(np.argmax([len(records) for records in self.records]))
        size, start = len(self.records[largest]), self._starts[largest]
        gathered = self.records[largest].gather_targets((indices - start).clip(0, size - 1))
        for k, records in enumerate(self.records):
            lo, hi = self._starts[k : k + 2]
            if k != largest and len(here := np.flatnonzero((indices >= lo) & (indices < hi))):
                own = records.gather_targets(indices[here] - lo)
                for ours, theirs in zip(gathered, own, strict=True):
                    ours[here] = theirs
        return gathered


class MemoryStore:
    """Holds all samples in memory, on the CPU or on the training device.

    A batch takes one `index_select` each for the images, the values and the scale factors.
    """

    def __init__(self, disk: DiskStore, device: torch.device | str = "cpu") -> None:
        device = torch.device(device)
        images, labels, scale = _read_all(disk)
        self.images = images.to(device)
        self._values = normalised(labels.to(device))
        self._scale_factors = scale.to(device)

    def __len__(self) -> int:
        return len(self.images)

    def gather(self, indices: Int64[Tensor, "B"]) -> RawBatch:
        """Pick the samples `indices`, in this order; they may be on another device."""
        indices = indices.to(self.images.device, non_blocking=True)
        parts = (self.images, self._values, self._scale_factors)
        return RawBatch(*(part.index_select(0, indices) for part in parts))


Store = DiskStore | MemoryStore


class Residence:
    """A data set's samples where they are kept while a device trains on them.

    Args:
        disk: the files.
        place: "disk", "ram" or "device".
        device: trains on the samples.
    """

    def __init__(self, disk: DiskStore, place: Residency, device: torch.device) -> None:
        self.place = place
        self.device = device
        # What loaders read; the files if the samples are kept on the device.
        self.store: Store = MemoryStore(disk) if place == "ram" else disk
        self._disk = disk
        self._copy: MemoryStore | None = None

    @property
    def on_device(self) -> bool:
        """Whether the training device keeps the samples, so that only their numbers travel."""
        return self.place == "device"

    def copy_on(self, device: torch.device) -> MemoryStore:
        """Return the samples on a device; the first call copies them there."""
        if self._copy is None or self._copy.images.device != device:
            self._copy = MemoryStore(self._disk, device)
        return self._copy

    def block_size(self, asked: int | None) -> int:
        """Resolve the size of shuffled blocks and log it; only samples on disk have blocks."""
        if self.place != "disk":
            if asked:
                log.info(
                    f"data.shuffle_block={asked} has no effect: data.residency=auto keeps the "
                    f"samples in {self.place}, and only samples on disk are shuffled in blocks"
                )
            return 0
        sample_bytes = self._disk.records[0].layout.record_size
        size = resolve_block_size(asked, len(self._disk), sample_bytes)
        if size:
            log.info(f"training samples are shuffled in blocks of {size}")
        return size


def _read_all(disk: DiskStore) -> tuple[Tensor, Tensor, Tensor]:
    """Read every sample, in chunks, into tensors of their final size."""
    first = disk.read(np.arange(min(1, len(disk)), dtype=np.int64))
    tensors = tuple(
        torch.empty((len(disk), *part.shape[1:]), dtype=torch.from_numpy(part).dtype)
        for part in first
    )
    for start in range(0, len(disk), READ_CHUNK):
        stop = min(start + READ_CHUNK, len(disk))
        parts = disk.read(np.arange(start, stop, dtype=np.int64))
        for tensor, part in zip(tensors, parts, strict=True):
            tensor[start:stop] = torch.from_numpy(part)
    images, labels, scale = tensors
    return images, labels, scale


def normalised(labels: Shaped[Tensor, "B P"]) -> Float[Tensor, "B P"]:
    """Take bytes to 0…1; exact values are there already."""
    return labels / 255.0 if labels.dtype == torch.uint8 else labels


def count_shared_images(
    disk: DiskStore, train: Int64[np.ndarray, "N"], test: Int64[np.ndarray, "M"]
) -> int:
    """Count the test images that equal a training image; 0 where there are too many to compare."""
    if len(train) + len(test) > MAX_COMPARED or len(train) == 0 or len(test) == 0:
        return 0
    seen = {image.tobytes() for image in disk.read(train)[0]}
    return sum(image.tobytes() in seen for image in disk.read(test)[0])


def check_dataset_levels(features: AuxiliaryFeatures, disk: DiskStore) -> None:
    """Check the levels of some samples of each file, at the same cost for a data set of any size.

    Raises:
        ConfigError: As :meth:`AuxiliaryFeatures.check_levels`.
    """
    for records in disk.records:
        some = np.linspace(0, max(0, len(records) - 1), min(len(records), LEVELS_LOOKED_AT))
        levels = np.array(records.scale_factors[some.astype(np.intp)])
        features.check_levels(levels, str(records.path))


def fit_preparation(
    preparation: Preparation, disk: DiskStore, samples: Int64[np.ndarray, "N"], seed: int
) -> Preparation:
    """Fit a preparation's means and deviations to at most 16384 seeded samples; return it.

    `samples` are the numbers of the training samples, at least one.

    Raises:
        ConfigError: A sample has no level in dB.
    """
    images, _, scale = disk.read(some_of(samples, MAX_FIT_SAMPLES, seed))
    where = " and ".join(str(records.path) for records in disk.records)
    preparation.auxiliary.check_levels(scale, where)
    return preparation.fit(torch.from_numpy(images), torch.from_numpy(scale))


def resolve_residency(asked: str, num_bytes: int, device: torch.device) -> Residency:
    """Decide where a data set is kept.

    "auto" chooses a CUDA device that has four times as much free memory; else the main memory up
    to 512 MB; else the files, of which the system's page cache keeps what is used. What counts are
    the pixels of the whole data set, in bytes.

    Example:
        >>> resolve_residency("auto", 72 * 1024, torch.device("cpu"))
        'ram'
    """
    match asked:
        case "disk" | "ram" | "device":
            return asked
    assert asked == "auto", asked
    if device.type == "cuda" and num_bytes <= DEVICE_SHARE * torch.cuda.mem_get_info(device)[0]:
        return "device"
    return "ram" if num_bytes <= RAM_BYTES else "disk"


def resolve_block_size(asked: int | None, num_samples: int, sample_bytes: int) -> int:
    """Decide the size of the blocks in which a data set on disk is shuffled; 0: all at once.

    While the page cache holds a file, the order of reading does not matter. A larger file would
    cost one read, with what the system reads around it, for each sample. Where nobody asks for
    another size, files of up to half of the main memory have no blocks, others some of about 1 MB.

    Example:
        >>> resolve_block_size(None, num_samples=72, sample_bytes=1024)
        0
    """
    if asked is not None:
        return asked
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    fits = num_samples * sample_bytes <= PAGE_CACHE_SHARE * memory
    return 0 if fits else max(1, BLOCK_BYTES // sample_bytes)

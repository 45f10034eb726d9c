"""Small files of the true formats of MNIST and CIFAR, and a folder of sounds.

The images' pixels are random but for a bright patch whose place is the class, so that they can be
learnt.
"""

import gzip
import io
import pickle
import struct
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

RATE = 8000  # Hz, of the sounds
MNIST_SIZES = {"train": 100, "t10k": 31}
CIFAR_SIZES = {"train": 100, "test": 31}
CIFAR10_CLASSES = [
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"
]  # fmt: skip


def patterned(labels: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Dim noise with a bright patch, 8 rows high, whose column says the class modulo 10."""
    rng = np.random.default_rng(len(labels))  # train and test files differ
    images = rng.integers(0, 60, (len(labels), *shape), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        left = 2 * (int(label) % 10) + 2
        image[..., 10:18, left : left + 4] = 255
    return images


def write_idx(path: Path, values: np.ndarray) -> None:
    """An IDX file: zero, zero, type 8, dimensions, their lengths as big-endian uint32, bytes."""
    header = bytes((0, 0, 8, values.ndim)) + struct.pack(f">{values.ndim}I", *values.shape)
    content = header + values.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def write_mnist(root: Path, suffix: str = ".gz") -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for name, size in MNIST_SIZES.items():
        digits = np.arange(size) % 10
        write_idx(root / f"{name}-images-idx3-ubyte{suffix}", patterned(digits, (28, 28)))
        write_idx(root / f"{name}-labels-idx1-ubyte{suffix}", digits)
    return root


class Python2Pickle:
    """Writes what Python 2's cPickle (protocol 2) and numpy 1 wrote: text is bytes, all is put."""

    def __init__(self) -> None:
        self._num_puts = 0

    def dump(self, value: Any) -> bytes:
        self._num_puts = 0
        return pickle.PROTO + b"\x02" + self.item(value) + pickle.STOP

    def put(self, code: bytes) -> bytes:
        """The instruction that keeps what was made for a later mention."""
        self._num_puts += 1
        if self._num_puts < 256:
            return code + pickle.BINPUT + bytes((self._num_puts,))
        return code + pickle.LONG_BINPUT + struct.pack("<I", self._num_puts)

    def item(self, value: Any) -> bytes:
        if isinstance(value, dict):
            start = self.put(pickle.EMPTY_DICT)
            items = b"".join(self.item(key) + self.item(v) for key, v in value.items())
            return start + pickle.MARK + items + pickle.SETITEMS
        if isinstance(value, list):
            start = self.put(pickle.EMPTY_LIST)
            items = b"".join(self.item(v) for v in value)
            return start + pickle.MARK + items + pickle.APPENDS
        if isinstance(value, np.ndarray):
            return self.array(value)
        if isinstance(value, str):
            return self.text(value.encode())
        assert isinstance(value, int)
        return self.number(value)

    def number(self, value: int) -> bytes:
        if 0 <= value < 256:
            return pickle.BININT1 + bytes((value,))
        if 0 <= value < 65536:
            return pickle.BININT2 + struct.pack("<H", value)
        return pickle.BININT + struct.pack("<i", value)

    def text(self, data: bytes) -> bytes:
        if len(data) < 256:
            return self.put(pickle.SHORT_BINSTRING + bytes((len(data),)) + data)
        return self.put(pickle.BINSTRING + struct.pack("<i", len(data)) + data)

    def array(self, array: np.ndarray) -> bytes:
        assert array.dtype == np.uint8
        empty = self.put(self.number(0) + pickle.TUPLE1)
        made = self.put(
            self.put(b"cnumpy.core.multiarray\n_reconstruct\n")
            + self.put(b"cnumpy\nndarray\n")
            + empty
            + self.put(self.text(b"b") + pickle.TUPLE3)
            + pickle.REDUCE
        )
        kind = self.text(b"u1") + self.number(0) + self.number(1)
        dtype = self.put(b"cnumpy\ndtype\n") + self.put(kind + pickle.TUPLE3) + pickle.REDUCE
        order = self.number(3) + self.text(b"|") + 3 * pickle.NONE
        order += 2 * self.number(-1) + self.number(0)
        dtype = self.put(dtype) + pickle.MARK + self.put(order + pickle.TUPLE) + pickle.BUILD
        shape = self.put(b"".join(self.number(n) for n in array.shape) + pickle.TUPLE2)
        state = self.number(1) + shape + dtype + pickle.NEWFALSE + self.text(array.tobytes())
        return made + pickle.MARK + self.put(state + pickle.TUPLE) + pickle.BUILD


def cifar10_members() -> dict[str, bytes]:
    """The files of cifar-10-python.tar.gz by their names in it."""
    dump = Python2Pickle().dump
    labels = np.arange(CIFAR_SIZES["train"]) % 10
    images = patterned(labels, (3, 32, 32)).reshape(len(labels), -1)
    members = {}
    for i, part in enumerate(np.array_split(np.arange(len(labels)), 5)):
        members[f"data_batch_{i + 1}"] = _batch(images[part], f"training batch {i + 1} of 5", {
            "labels": labels[part].tolist()
        })  # fmt: skip
    labels = np.arange(CIFAR_SIZES["test"]) % 10
    images = patterned(labels, (3, 32, 32)).reshape(len(labels), -1)
    members["test_batch"] = _batch(images, "testing batch 1 of 1", {"labels": labels.tolist()})
    meta = {"num_cases_per_batch": 20, "label_names": CIFAR10_CLASSES, "num_vis": 3072}
    members["batches.meta"] = dump(meta)
    return {f"cifar-10-batches-py/{name}": content for name, content in members.items()}


def cifar100_members() -> dict[str, bytes]:
    """The files of cifar-100-python.tar.gz by their names in it."""
    members = {}
    for name, size in CIFAR_SIZES.items():
        fine = np.arange(size) % 100
        images = patterned(fine, (3, 32, 32)).reshape(size, -1)
        kinds = {"fine_labels": fine.tolist(), "coarse_labels": (fine // 5).tolist()}
        members[f"cifar-100-python/{name}"] = _batch(images, f"{name} batch 1 of 1", kinds)
    members["cifar-100-python/meta"] = Python2Pickle().dump(
        {
            "fine_label_names": [f"thing_{i}" for i in range(100)],
            "coarse_label_names": [f"kind_{i}" for i in range(20)],
        }
    )
    return members


def _batch(images: np.ndarray, label: str, labels: dict[str, list[int]]) -> bytes:
    names = [f"picture_{i}.png" for i in range(len(images))]
    return Python2Pickle().dump(
        {"batch_label": label, **labels, "data": images, "filenames": names}
    )


def write_tar(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz") as tar:
        folder = tarfile.TarInfo(next(iter(members)).split("/")[0])
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def write_cifar(root: Path) -> Path:
    """Both archives in one folder."""
    root.mkdir(parents=True, exist_ok=True)
    write_tar(root / "cifar-10-python.tar.gz", cifar10_members())
    write_tar(root / "cifar-100-python.tar.gz", cifar100_members())
    return root


def image_root(data_root: Path) -> Path:
    """A folder with all original files, in small; made once a session."""
    from filelock import FileLock

    root = data_root / "originals"
    with FileLock(data_root / ".originals.lock"):
        if not root.exists():
            write_mnist(root)
            write_cifar(root)
    return root


def tone(pitch: float, velocity: float, rate_hz: int = RATE, length_s: float = 0.25) -> np.ndarray:
    """A decaying tone of a MIDI pitch, float32."""
    time_s = np.arange(round(length_s * rate_hz)) / rate_hz
    wave = np.sin(2 * np.pi * 440 * 2 ** ((pitch - 69) / 12) * time_s)
    return (velocity / 127 * np.exp(-5 * time_s) * wave).astype(np.float32)


def write_sounds(folder: Path, rows: Sequence[tuple[float, float]]) -> Path:
    """WAV files named by their place, and labels.csv beside them: file, pitch, velocity."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["file,pitch,velocity"]
    for place, (pitch, velocity) in enumerate(rows):
        soundfile.write(folder / f"{place:03d}.wav", tone(pitch, velocity), RATE, subtype="FLOAT")
        lines.append(f"{place:03d}.wav,{pitch},{velocity}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def notes(count: int, seed: int = 0) -> list[tuple[float, float]]:
    """Pitches and velocities; no velocity twice."""
    rng = np.random.default_rng(seed)
    return [
        (round(float(p), 2), float(v))
        for p, v in zip(
            rng.uniform(40, 80, count),
            rng.choice(np.arange(20, 128), count, replace=False),
            strict=True,
        )
    ]


def sound_root(data_root: Path) -> Path:
    """A folder of notes with labels.csv; made once a session."""
    from filelock import FileLock

    root = data_root / "notes"
    with FileLock(data_root / ".notes.lock"):
        if not root.exists():
            write_sounds(root, notes(96))
    return root

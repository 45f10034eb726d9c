"""Checkpoints that are either whole or not there, and that never run code when read."""

import re
import shutil
import zipfile
import zlib
from collections import OrderedDict
from pathlib import Path
from typing import IO, Any

import lightning.pytorch
import torch
from lightning.fabric.plugins.io.checkpoint_io import CheckpointIO
from lightning.fabric.utilities.apply_func import apply_to_collection

from src.checkpoints.archive import Refused
from src.checkpoints.reader import BROKEN, DTYPES, read_saved
from src.utils.errors import CheckpointError
from src.vimh.atomic import whole_file
from src.vimh.disk import cannot_write

_CHUNK_BYTES = 1 << 20
READ_DTYPES = frozenset(DTYPES.values())
VERSION_KEY = "pytorch-lightning_version"
_VERSION = re.compile(r"2(\.[0-9]{1,4}){1,2}((\.|rc|a|b|\.dev|\.post)[0-9]{1,8})?")
_SCALARS = {str, int, float, bool, type(None)}
MapLocation = str | torch.device | None


class AtomicCheckpointIO(CheckpointIO):
    """Writes beside the target, syncs, reads back, and only then replaces what was there.

    Killed at any moment, it leaves the old file or the new one, whole. A full disk or a read-only
    folder is a :class:`CheckpointError` and loses nothing. Reading builds tensors and
    plain containers only, so a checkpoint cannot run code; what could not be read so is refused
    when it is written, not weeks later.

    A plugin of the trainer: ``configs/trainer/default.yaml`` has it under ``plugins``.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, object], path: str | Path, storage_options: object | None = None
    ) -> None:
        """Write a checkpoint.

        Raises:
            CheckpointError: If it cannot be written, reads back differently, or holds something
                that cannot be read without running code. What was at ``path`` is then still there.
        """
        if storage_options is not None:
            raise CheckpointError("storage_options are not taken: checkpoints are local files")
        target = _local(path)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(target) as temporary:
                written = _write(checkpoint, temporary)
                if _checksum(temporary) != written:
                    raise CheckpointError(
                        f"{target}: what was written reads back differently; the disk or its file "
                        "system is at fault. The checkpoint was not replaced."
                    )
                if not _is_plain(checkpoint):
                    _check_loads_safely(temporary, target)
        except OSError as error:
            raise CheckpointError(
                f"{cannot_write(target, error)} by paths.log_dir=...; an earlier checkpoint there "
                "is untouched"
            ) from error

    def load_checkpoint(
        self,
        path: str | Path,
        map_location: MapLocation = "cpu",
        weights_only: bool | None = None,
    ) -> dict[str, object]:
        """Read a checkpoint without running any code.

        Raises:
            CheckpointError: If ``weights_only`` is False, or the file is missing, is not a
                checkpoint, or holds anything but tensors and plain containers.
        """
        if weights_only is False:
            raise CheckpointError(
                f"{path}: weights_only=False would run code from the file; it is never done here"
            )
        checkpoint = load_checkpoint(path, map_location)
        # Lightning migrates checkpoints by their version before it calls our hooks.
        written_by = checkpoint.setdefault(VERSION_KEY, lightning.pytorch.__version__)
        if not isinstance(written_by, str) or not _VERSION.fullmatch(written_by):
            raise CheckpointError(
                f"{path}: {VERSION_KEY} is {repr(written_by)[:60]}; expected a version 2 of "
                "Lightning"
            )
        return checkpoint

    def remove_checkpoint(self, path: str | Path) -> None:
        """Remove a checkpoint, file or folder, if it is there."""
        target = _local(path)
        try:
            if target.is_dir() and not target.is_symlink():
                shutil.rmtree(target)
            else:
                target.unlink(missing_ok=True)
        except OSError as error:
            raise CheckpointError(f"{target} cannot be removed: {error.strerror}") from error


def load_checkpoint(path: str | Path, map_location: MapLocation = "cpu") -> dict[str, object]:
    """Read a checkpoint as tensors and plain containers, without running any code.

    Raises:
        CheckpointError: If the file is missing, is not a checkpoint, or holds anything else.
    """
    target = _local(path)
    if not target.is_file():
        raise CheckpointError(f"{target}: there is no such checkpoint file")
    if not _is_zip(target):
        raise CheckpointError(
            f"{target} is not a checkpoint, or a truncated one: expected a zip file as torch.save "
            f"writes, found {target.stat().st_size} bytes of something else"
        )
    try:
        checkpoint = read_saved(target)
    except BROKEN as error:
        raise CheckpointError(
            f"{target} cannot be read as a checkpoint of tensors and plain containers: "
            f"{_reason(error)}"
        ) from error
    if not isinstance(checkpoint, dict):
        raise CheckpointError(
            f"{target} is not a checkpoint: expected a dict, found {type(checkpoint).__name__}"
        )
    if map_location is not None and torch.device(map_location).type != "cpu":
        return apply_to_collection(checkpoint, torch.Tensor, lambda t: t.to(map_location))
    return checkpoint


def _is_zip(path: Path) -> bool:
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:  # damaged at its very end, where a zip file says that it is one
        return False


class _SummingFile:
    """Passes bytes on to a file, sums them up, and keeps the error that torch would swallow."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.checksum = 0
        self.num_bytes = 0
        self.error: OSError | None = None

    def write(self, data: bytes | memoryview) -> int:
        try:
            count = self._file.write(data)
        except OSError as error:
            self.error = error
            raise
        self.checksum = zlib.crc32(data, self.checksum)
        self.num_bytes += count
        return count

    def flush(self) -> None:
        self._file.flush()


def _write(checkpoint: dict[str, object], path: Path) -> tuple[int, int]:
    """Write a checkpoint; return the checksum and the number of the written bytes."""
    with path.open("wb") as file:
        summing = _SummingFile(file)
        try:
            torch.save(checkpoint, summing)  # type: ignore[arg-type]  # write() is all it uses
        except RuntimeError as error:
            # torch wraps a failed write ("unexpected pos 64 vs 0"); the cause says more.
            if summing.error is not None:
                raise summing.error from error
            raise
        return summing.checksum, summing.num_bytes


def _checksum(path: Path) -> tuple[int, int]:
    checksum, num_bytes = 0, 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            checksum = zlib.crc32(chunk, checksum)
            num_bytes += len(chunk)
    return checksum, num_bytes


def _is_plain(value: Any) -> bool:
    """Tell whether a value consists of tensors and plain containers, which can be read back.

    Nearly always so, and then torch's slow unpickler need not try: that took longer than all of
    the writing.
    """
    kind = type(value)
    if kind in _SCALARS:
        return kind is not int or value.bit_length() < 64
    if kind is dict or kind is OrderedDict:
        has_text_keys = all(
            type(key) is str or (type(key) is int and key.bit_length() < 32) for key in value
        )
        return has_text_keys and all(map(_is_plain, value.values()))
    if kind is list or kind is tuple:
        return all(map(_is_plain, value))
    # Attributes that somebody hung on a tensor are saved with it.
    if kind not in (torch.Tensor, torch.nn.Parameter) or vars(value):
        return False
    return value.dtype in READ_DTYPES and value.layout is torch.strided and not value.is_quantized


def _check_loads_safely(temporary: Path, target: Path) -> None:
    try:
        read_saved(temporary, with_data=False)  # the bytes were compared already
    except BROKEN as error:
        raise CheckpointError(
            f"{target}: not written, since it could not be resumed from: {_reason(error)}. Keep to "
            "tensors and plain containers."
        ) from error


def _local(path: str | Path) -> Path:
    if "://" in str(path):
        raise CheckpointError(f"{path}: checkpoints are local files; give a path, not an address")
    return Path(path)


def _reason(error: BaseException) -> str:
    if isinstance(error, Refused):
        return str(error)
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__

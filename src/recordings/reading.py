"""Files to stored images, a block at a time; any number of threads may read."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8, UInt64

from src.recordings.images import read_image
from src.recordings.settings import ImportSettings
from src.recordings.sounds import LEAD_S, RECORDING_KEY, Listening, length_s, read_sound
from src.recordings.wav import all_bytes
from src.synth.images import ImageMaker
from src.synth.levels import Levels, floor_shares
from src.synth.parallel import in_order
from src.vimh.errors import VIMHError
from src.vimh.plain import file_digest

DEFAULT_SECONDS = 4.0  # the longest duration that is chosen by itself
SYNTH_TYPE = "recordings"
_BLOCK_NUMBERS = 2**21  # of the transforms of a block: some 30 MB a thread
_HEADERS = 256  # files whose length is read at a time
_MAX_SIDE, _MAX_IMAGE_BYTES = 65_535, 2**27


@dataclass(frozen=True)
class Block:
    """The images of some files.

    Attributes:
        images: of the files that were read.
        scale_factors: the dB of 0 and 255; None: the files are pictures.
        places: of them among the files asked for.
        keys: a hash of each image: equal ones have the same content.
        broken: the others' reasons, by their place.
        digests: SHA-256 of each file asked for.
    """

    images: UInt8[np.ndarray, "n C H W"]
    scale_factors: Float32[np.ndarray, "n 2"] | None
    places: list[int]
    keys: UInt64[np.ndarray, "n"]
    broken: dict[int, str]
    digests: list[bytes]

    @property
    def levels(self) -> Levels | None:
        """How loud the sounds are; None of pictures, and where none was read."""
        if self.scale_factors is None or not len(self.images):
            return None
        # The channels are the sides of a stereo sound, of others there is one.
        shares = floor_shares(self.images, self.images.shape[1])
        return Levels.of(self.scale_factors[:, 1], shares)


@dataclass
class _Read:
    """What has been read of a block."""

    places: list[int] = field(default_factory=list)
    broken: dict[int, str] = field(default_factory=dict)
    digests: list[bytes] = field(default_factory=list)

    def content(self, path: Path) -> bytes | None:
        """Return a file's bytes and note their digest; None: too many to read at once."""
        content = all_bytes(path)
        whole = file_digest(path) if content is None else hashlib.sha256(content).hexdigest()
        self.digests.append(bytes.fromhex(whole))
        return content

    def block(
        self, images: UInt8[np.ndarray, "n C H W"], scale: Float32[np.ndarray, "n 2"] | None
    ) -> Block:
        """Complete it."""
        levels = [b""] * len(images) if scale is None else [row.tobytes() for row in scale]
        hashes = [
            hashlib.blake2b(image.tobytes() + level, digest_size=8).digest()
            for image, level in zip(images, levels, strict=True)
        ]
        keys = np.frombuffer(b"".join(hashes), np.uint64)
        return Block(images, scale, self.places, keys, self.broken, self.digests)


class SoundReader:
    """Reads sounds by the settings of an import.

    Args:
        folder: of the files.
        files: all that are imported, from which the duration follows where it is not given.
        settings: of the import.

    Raises:
        VIMHError: the settings make no image, or no file can be read.
    """

    def __init__(self, folder: Path, files: Sequence[str], settings: ImportSettings) -> None:
        self._folder = folder
        lead_s = LEAD_S if settings.start == "onset" else 0.0
        self._how = Listening(
            settings.start, lead_s, settings.channels, settings.array_key, settings.rate_key
        )
        self._rate_hz = settings.sample_rate
        self._duration_s = settings.duration or self._usual_length_s(files, settings.threads)
        front_end = settings.build_front_end(self._duration_s)
        self._maker = ImageMaker(front_end, stereo=settings.channels == "stereo")
        self._length = front_end.heard_samples(self._duration_s)
        self._quietest = 10.0 ** (front_end.floor_db / 20.0)

    def _usual_length_s(self, files: Sequence[str], threads: int | None) -> float:
        """Return the median length, at most 4 s; files that cannot be read are named later."""

        def lengths(names: Sequence[str]) -> list[float]:
            found = []
            for name in names:
                try:
                    found.append(length_s(self._folder / name, self._how, self._rate_hz))
                except VIMHError:
                    continue
            return found

        parts = [files[start : start + _HEADERS] for start in range(0, len(files), _HEADERS)]
        known = [s for _, part in in_order(lengths, parts, threads) for s in part if s > 0]
        if not known:
            raise VIMHError(
                f"{self._folder}: no file can be read as a sound, the first is {files[0]!r}"
            )
        return max(0.001, round(min(DEFAULT_SECONDS, float(np.median(known))), 3))

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return self._maker.image_shape

    @property
    def block_size(self) -> int:
        """Sounds that are read at a time."""
        numbers = max(self._maker.front_end.block_numbers, self._length) * (1 + self._maker.stereo)
        return max(1, _BLOCK_NUMBERS // numbers)

    def read(self, files: Sequence[str]) -> Block:
        """Read sounds, each by itself: an image's bytes do not depend on the others."""
        read = _Read()
        sides = (2,) if self._maker.stereo else ()
        audio = np.zeros((len(files), *sides, self._length), np.float32)
        for place, name in enumerate(files):
            try:
                sound = self._sound(name, read.content(self._folder / name))
            except VIMHError as error:
                read.broken[place] = str(error).removeprefix(f"{self._folder / name}: ")
                continue
            audio[len(read.places), ..., : sound.shape[-1]] = sound
            read.places.append(place)
        images, scale = np.zeros((0, *self.image_shape), np.uint8), np.zeros((0, 2), np.float32)
        if read.places:
            with np.errstate(invalid="ignore", over="ignore"):  # a sentence says it in a moment
                images, scale = self._maker(audio[: len(read.places)])
        finite = np.isfinite(scale).all(axis=1)
        if not finite.all():
            for row in np.flatnonzero(~finite).tolist():
                peak = float(np.abs(audio[row]).max())
                read.broken[read.places[row]] = f"it is too loud, its peak is {peak:.3g}"
            read.places = [read.places[row] for row in np.flatnonzero(finite).tolist()]
            images, scale = images[finite], scale[finite]
        return read.block(images, scale)

    def _sound(self, name: str, content: bytes | None) -> Float32[np.ndarray, "*S T"]:
        path = self._folder / name
        sound = read_sound(path, self._rate_hz, self._how, self._quietest, content).audio
        heard = sound[..., : self._length]
        level = np.abs(heard).max()
        if level <= self._quietest:
            raise VIMHError(f"{path}: its first {self._duration_s:g} s are silent")
        return heard

    def metadata(self) -> dict[str, object]:
        """Return what the metadata say of the sounds."""
        spectrogram_config, mel_config = self._maker.front_end.to_json()
        return {
            "sample_rate": self._rate_hz,
            "duration": self._duration_s,
            "synth_type": SYNTH_TYPE,
            "channel_labels": list(self._maker.channel_labels),
            "pre_emphasis_coefficient": 0.0,
            "spectrogram_config": spectrogram_config,
            "mel_config": mel_config,
            RECORDING_KEY: asdict(self._how),
        }


class ImageReader:
    """Reads pictures by the settings of an import.

    Args:
        folder: of the files.
        files: all that are imported; the first that can be read decides size and colour where the
            settings do not.
        settings: of the import.

    Raises:
        VIMHError: no file can be read, or the images are too large for a record.
    """

    def __init__(self, folder: Path, files: Sequence[str], settings: ImportSettings) -> None:
        self._folder = folder
        self._size, self._color = settings.resize, settings.color
        self._first, self.image_shape = self._first_shape(files)
        self._channels, height, width = self.image_shape
        if height * width * self._channels > _MAX_IMAGE_BYTES or max(height, width) > _MAX_SIDE:
            raise VIMHError(
                f"{folder / self._first}: an image of {height}x{width} is too large for a record; "
                "set image_size=HxW"
            )

    def _first_shape(self, files: Sequence[str]) -> tuple[str, tuple[int, int, int]]:
        reason = ""
        for name in files:
            try:
                image = read_image(self._folder / name, self._size, self._color)
            except VIMHError as error:
                reason = reason or str(error)
                continue
            return name, (image.shape[0], image.shape[1], image.shape[2])
        raise VIMHError(f"no picture can be read: {reason}")

    @property
    def block_size(self) -> int:
        """Pictures that are read at a time."""
        return max(1, min(256, _BLOCK_NUMBERS // math.prod(self.image_shape)))

    def read(self, files: Sequence[str]) -> Block:
        """Read pictures."""
        read, images = _Read(), np.zeros((len(files), *self.image_shape), np.uint8)
        for place, name in enumerate(files):
            read.content(self._folder / name)
            try:
                image = read_image(self._folder / name, self._size, self._color)
            except VIMHError as error:
                read.broken[place] = str(error).removeprefix(f"{self._folder / name}: ")
                continue
            if image.shape == self.image_shape:
                images[len(read.places)] = image
                read.places.append(place)
            else:
                read.broken[place] = self._other_shape(image.shape)
        return read.block(images[: len(read.places)], None)

    def _other_shape(self, shape: tuple[int, ...]) -> str:
        found, expected = (
            f"{s[1]}x{s[2]} {'grey' if s[0] == 1 else 'rgb'}" for s in (shape, self.image_shape)
        )
        advice = (
            "color=grey or color=rgb" if shape[1:] == self.image_shape[1:] else "image_size=HxW"
        )
        return f"is {found}, expected {expected} as {self._first}; {advice} makes all the same"

    def metadata(self) -> dict[str, object]:
        """Return what the metadata say of the pictures, beside their size: nothing."""
        return {}


Reader = SoundReader | ImageReader

"""The metadata of a data set: its JSON, its name, and the labels of its channels."""

import copy
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from src.vimh.errors import VIMHError
from src.vimh.fields import (
    check_name,
    check_unlisted,
    checksums,
    count,
    mel_config,
    optional_count,
    optional_positive,
    positive,
    section,
    spectrogram_config,
    text,
    texts,
    wrong_key,
)
from src.vimh.names import named_image_size
from src.vimh.parameters import Parameter, ParameterSpace
from src.vimh.plain import check_plain, read_json, shown
from src.vimh.value_files import RowKind, check_precision, row_kinds

METADATA_FILE = "vimh_dataset_info.json"
FORMAT = "VIMH"
Split = Literal["train", "test"]
SPLITS: tuple[Split, ...] = ("train", "test")
# With files beside the records or logarithmic spacing, and without.
VERSION, VERSION_WITH_BYTES = "2.2", "2.1"
MAX_PARAMETERS = 255
MAX_MAPPINGS = 1024  # also of parameters that are in no record
_NEEDED_KEYS = ("height", "width", "channels", "parameter_names", "parameter_mappings")
_DEFAULT_LABELS = {1: ("Gray",), 3: ("R", "G", "B"), 4: ("R", "G", "B", "A")}
# What `Metadata.to_json` writes over `raw`, where there is something to write.
_WRITTEN_KEYS = (
    "dataset_name", "height", "width", "channels", "channel_labels", "parameter_names",
    "train_samples", "test_samples", "sample_rate", "duration", "synth_type",
    "spectrogram_config", "mel_config", "checksums", "recipe",
)  # fmt: skip


def default_channel_labels(channels: int) -> tuple[str, ...]:
    """Name the channels of a data set without labels: Gray, R G B, R G B A, or Ch0, Ch1, ...

    Example:
        >>> default_channel_labels(3), default_channel_labels(2)
        (('R', 'G', 'B'), ('Ch0', 'Ch1'))
    """
    return _DEFAULT_LABELS.get(channels) or tuple(f"Ch{i}" for i in range(channels))


@dataclass(frozen=True)
class Metadata:
    """The checked JSON of a data set; None: it does not say."""

    dataset_name: str
    height: int  # rows of an image: frequency, low to high
    width: int  # columns of an image: time
    channels: int
    channel_labels: tuple[str, ...]
    parameter_names: tuple[str, ...]  # which a record's parameter ids index
    parameters: ParameterSpace  # the heads (those that vary), in the order of their ids
    train_samples: int | None = None
    test_samples: int | None = None
    sample_rate: float | None = None  # Hz; None where the images are not of sounds
    duration: float | None = None  # of the sounds, in s
    synth_type: str | None = None  # the synthesiser that made them
    spectrogram_config: dict[str, object] = field(default_factory=dict)  # n_fft, hop_length, ...
    mel_config: dict[str, object] = field(default_factory=dict)
    metadata_bytes: int | None = None  # 14: records hold scale factors; 6: they do not
    row_kinds: tuple[RowKind, ...] = ()  # what lies beside the records: exact values, groups
    checksums: dict[str, str] = field(default_factory=dict)  # SHA-256 by the data file's name
    recipe: dict[str, object] | None = None  # of a synthesised data set
    raw: dict[str, Any] = field(default_factory=dict, repr=False)  # all, also keys not known here

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Shape of an image as (C, H, W)."""
        return (self.channels, self.height, self.width)

    @property
    def image_size(self) -> str:
        """Size of an image as "HxWxC"."""
        return f"{self.height}x{self.width}x{self.channels}"

    @property
    def has_scale_factors(self) -> bool | None:
        """Whether records hold the two scale factors; None where the metadata does not say."""
        return None if self.metadata_bytes is None else self.metadata_bytes == 14

    @property
    def parameter_ids(self) -> tuple[int, ...]:
        """Id in the records of each of `parameters`."""
        return tuple(parameter_id(name, self.parameter_names) for name in self.parameters)

    @property
    def hop_s(self) -> float:
        """Time between two columns of an image in s: `hop_length/sample_rate`.

        Raises:
            VIMHError: The metadata lacks one of them (the data set holds no sounds).
        """
        hop_length = self.spectrogram_config.get("hop_length")
        where = f"metadata of {self.dataset_name!r}"
        if self.sample_rate is None:
            raise VIMHError(f"{where}: key 'sample_rate' is needed for the hop time, but missing")
        key = "spectrogram_config.hop_length"
        return positive({key: hop_length}, key, where) / self.sample_rate

    @property
    def fixed_parameters(self) -> dict[str, float]:
        """Values of the parameters that do not vary, by name.

        Raises:
            VIMHError: An entry of `fixed_parameters` holds no value.
        """
        mappings = self.raw["parameter_mappings"]
        listed = self.raw.get("fixed_parameters") or {}
        names = listed if isinstance(listed, Mapping) else dict.fromkeys(listed)
        for name in names:
            check_name(name, f"metadata of {self.dataset_name!r}: a name in 'fixed_parameters'")
        values = {name: _fixed_value(name, names[name], mappings.get(name)) for name in names}
        for name in self.parameter_names:
            if name not in self.parameters and name not in values:
                values[name] = Parameter.from_json(name, mappings[name]).min
        return values

    @classmethod
    def load(cls, dataset_dir: str | Path) -> "Metadata":
        """Read and check the metadata of the data set in `dataset_dir`.

        Raises:
            VIMHError: The file is missing, is not JSON, lacks a needed key or holds a wrong value,
                or the directory's name gives another image size.
        """
        path = Path(dataset_dir) / METADATA_FILE
        if not os.path.isfile(path):
            raise VIMHError(f"{path}: the metadata file is missing, so this is no VIMH data set")
        metadata = cls.from_json(read_json(path), path)
        metadata.check_name(path.parent)
        return metadata

    @classmethod
    def from_json(cls, mapping: object, where: str | Path = "metadata") -> "Metadata":
        """Check a parsed JSON; `where` names it in messages.

        Raises:
            VIMHError: A needed key is missing or a value is wrong; the key is named.
        """
        if not isinstance(mapping, Mapping):
            raise VIMHError(f"{where}: expected a JSON object, found {type(mapping).__name__}")
        check_plain(mapping, str(where))
        for key in _NEEDED_KEYS:
            if key not in mapping:
                raise VIMHError(f"{where}: key '{key}' is missing")
        if mapping.get("format", FORMAT) != FORMAT:
            raise wrong_key(where, "format", repr(FORMAT), mapping["format"])
        check_unlisted(mapping, where)
        names = _names(mapping, where)
        height, width, channels = (
            count(mapping, key, where, least=1, most=65535)
            for key in ("height", "width", "channels")
        )
        encoding = section(mapping, "label_encoding", where).get("metadata_bytes")
        kinds = row_kinds(mapping, where)
        metadata = cls(
            dataset_name=text(mapping, "dataset_name", where) or "",
            height=height,
            width=width,
            channels=channels,
            channel_labels=_channel_labels(mapping, channels, where),
            parameter_names=names,
            parameters=_heads(mapping, names, where, exact="values" in kinds),
            train_samples=optional_count(mapping, "train_samples", where),
            test_samples=optional_count(mapping, "test_samples", where),
            sample_rate=optional_positive(mapping, "sample_rate", where),
            duration=optional_positive(mapping, "duration", where),
            synth_type=text(mapping, "synth_type", where),
            spectrogram_config=spectrogram_config(mapping, where),
            mel_config=mel_config(mapping, where),
            # older writers put other counts here, which say nothing
            metadata_bytes=14 if encoding == 14 else 6 if encoding == 6 else None,
            row_kinds=kinds,
            checksums=checksums(mapping, where),
            recipe=section(mapping, "recipe", where) or None,
            raw=copy.deepcopy(dict(mapping)),
        )
        _check_image_size(mapping.get("image_size"), metadata, where)
        return metadata

    def to_json(self) -> dict[str, object]:
        """Return the JSON: `raw` with the fields of this object over it."""
        known = {key: getattr(self, key) for key in _WRITTEN_KEYS}
        said = {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in known.items()
            if value is not None and value != {}
        }
        mappings = dict(self.raw.get("parameter_mappings", {}))
        for name, parameter in self.parameters.items():
            if name not in mappings or Parameter.from_json(name, mappings[name]) != parameter:
                mappings[name] = parameter.to_json()
        return copy.deepcopy({**self.raw, **said, "parameter_mappings": mappings})

    def check_name(self, dataset_dir: str | Path) -> None:
        """Check the image size in the directory's name, if it has one, against the JSON's.

        Raises:
            VIMHError: They differ.
        """
        name = Path(dataset_dir).absolute().name
        named = named_image_size(name)
        if named is not None and named != (self.height, self.width, self.channels):
            raise VIMHError(
                f"Dimension mismatch in {dataset_dir}: the directory's name says "
                f"{'x'.join(map(str, named))}, {METADATA_FILE} says {self.image_size} "
                "(height x width x channels)"
            )


def parameter_id(name: str, parameter_names: Sequence[str]) -> int:
    """Return the id of a parameter in records: its place in the names, or <id> of `param_<id>`."""
    if name in parameter_names:
        return parameter_names.index(name)
    match = re.fullmatch(r"param_(\d{1,3})", name)
    assert match is not None, f"{name!r} is neither in parameter_names nor param_<id>"
    return int(match[1])


def parameter_label(parameter_id: int, parameter_names: Sequence[str]) -> str:
    """Return the name of a record's parameter id; beyond the names it is `param_<id>`."""
    known = parameter_id < len(parameter_names)
    return parameter_names[parameter_id] if known else f"param_{parameter_id}"


def _names(mapping: Mapping[str, object], where: str | Path) -> tuple[str, ...]:
    names = texts(mapping, "parameter_names", where)
    if len(set(names)) != len(names) or len(names) > MAX_PARAMETERS:
        raise VIMHError(
            f"{where}: key 'parameter_names' must hold at most {MAX_PARAMETERS} names, each once, "
            f"found {shown(names)}"
        )
    return names


def _heads(
    mapping: Mapping[str, object], names: Sequence[str], where: str | Path, *, exact: bool
) -> ParameterSpace:
    mappings = mapping["parameter_mappings"]
    if not isinstance(mappings, Mapping):
        raise wrong_key(where, "parameter_mappings", "an object", mappings)
    if len(mappings) > MAX_MAPPINGS:
        raise VIMHError(
            f"{where}: key 'parameter_mappings' must hold at most {MAX_MAPPINGS} parameters, found "
            f"{len(mappings)}"
        )
    # An id beyond the names is called param_<id>; it is a head if it has a mapping.
    beyond = [f"param_{i}" for i in range(len(names), 256) if f"param_{i}" in mappings]
    beyond = [name for name in beyond if name not in names]
    try:
        for name in mappings:  # also of parameters that no record holds
            Parameter.from_json(name, mappings[name])
        heads = ParameterSpace.from_json([*names, *beyond], mappings).heads
        if exact:
            check_precision(heads)
        return ParameterSpace(replace(p, exact=exact) for p in heads.values())
    except VIMHError as error:
        raise VIMHError(f"{where}: key 'parameter_mappings': {error}") from error


def _channel_labels(
    mapping: Mapping[str, object], channels: int, where: str | Path
) -> tuple[str, ...]:
    if mapping.get("channel_labels") is None:
        return default_channel_labels(channels)
    labels = texts(mapping, "channel_labels", where)
    if len(labels) != channels:
        raise VIMHError(
            f"{where}: key 'channel_labels' must hold {channels} labels (one a channel), found "
            f"{len(labels)}: {shown(list(labels))}"
        )
    return labels


def _check_image_size(size: object, metadata: Metadata, where: str | Path) -> None:
    """Check `image_size` where it has the form HxWxC; older writers wrote other forms."""
    if isinstance(size, str) and re.fullmatch(r"\d+x\d+x\d+", size) and size != metadata.image_size:
        raise VIMHError(
            f"{where}: Dimension mismatch: 'image_size' says {size[:40]}, 'height', 'width' and "
            f"'channels' say {metadata.image_size}"
        )


def _fixed_value(name: str, listed: object, mapping: Mapping[str, object] | None) -> float:
    """Read a fixed parameter: a number, an object with 'value' or 'min', or the mapping's 'min'."""
    if listed is None and mapping is not None:
        listed = mapping.get("min")
    if isinstance(listed, Mapping):
        listed = listed.get("value", listed.get("min"))
    try:
        return Parameter.from_json(name, {"min": listed, "max": listed}).min
    except VIMHError as error:
        raise VIMHError(f"key 'fixed_parameters.{name}' holds no value: {error}") from error

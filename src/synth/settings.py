"""Front ends out of a recipe's `stft` and `mel`, a preset's name, or a data set's metadata."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Literal, TypedDict

from annotated_types import Interval, Predicate, doc
from omegaconf import OmegaConf

from src.schema.arguments import check_arguments, check_value, section, shown, signature_of
from src.schema.bounds import Whole
from src.schema.plain import plain_values
from src.schema.specs import TARGET, listed
from src.synth.cqt import BinsPerOctave, Cqt, LowestRow, longest_kernel, spanning_hop
from src.synth.errors import RecipeError, class_errors, named_class, recipe_errors
from src.synth.front_end import DEFAULT_FLOOR_DB, FrontEnd
from src.synth.spectrogram import (
    BinsPerHarmonic,
    Length,
    LowestFrequency,
    Mel,
    NyquistShare,
    RelativeFloor,
    Stft,
)
from src.synth.table import own_classes
from src.utils.trust import current_trust
from src.vimh.errors import VIMHError
from src.vimh.fields import MOST_SOUND
from src.vimh.metadata import Metadata

# No further than float32 goes, in which magnitudes are.
Decibels = Annotated[float, Interval(ge=-750, le=750)]
SampleRate = Annotated[Whole, Interval(ge=1, le=MOST_SOUND)]
PreEmphasis = Annotated[float, Interval(ge=0, lt=1)]
_TIME = re.compile(r"(\d{1,6}(?:\.\d{1,6})?) ?ms")
_Time = Annotated[str, Predicate(_TIME.fullmatch), doc("a time such as 64 ms")]
_FRONT_END = "src.synth.spectrogram.Stft"  # an example, for messages
AUTO = "auto"
PRESET = "front_end"  # of `configs/front_end`: image, transform and filters in one word
_PRESETS = Path(__file__).parents[2] / "configs" / PRESET
_WindowType = Literal["rectangular", "hann", "hamming", "blackman"]


@dataclass(frozen=True)
class StftSection:
    """The config `stft` without a ``_target_``; see :class:`src.synth.spectrogram.Stft`.

    `auto` is the power of two that holds a window for `n_fft`, and for `hop_length` the hop with
    which the image spans the sound: its last frame is the last whole one.
    """

    type: Literal["stft", "mel"]
    n_fft: Length | Literal["auto"]
    n_window: Length | _Time
    hop_length: Length | _Time | Literal["auto"]
    window_type: _WindowType
    bins_per_harmonic: BinsPerHarmonic = 1.0
    floor_db: Decibels = DEFAULT_FLOOR_DB
    floor_db_rel: RelativeFloor | None = None


@dataclass(frozen=True)
class CqtSection:
    """The config `stft` where its `type` is cqt; see :class:`src.synth.cqt.Cqt`."""

    type: Literal["cqt"]
    freq_min: LowestRow
    hop_length: Length | _Time | Literal["auto"]
    bins_per_octave: BinsPerOctave = 12
    window_type: _WindowType = "hann"
    floor_db: Decibels = DEFAULT_FLOOR_DB
    floor_db_rel: RelativeFloor | None = None


_Section = StftSection | CqtSection


@dataclass(frozen=True)
class MelSection:
    """The config `mel`, read where `stft.type` is mel; see :class:`src.synth.spectrogram.Mel`."""

    freq_min: LowestFrequency = 40.0
    freq_max_ratio: NyquistShare = 0.9


class _OfTheRecipe(TypedDict):
    """Arguments of every front end that stand elsewhere in a recipe or in metadata."""

    sample_rate_hz: int
    height: int
    width: int
    pre_emphasis_coefficient: float


def checked_stft(
    given: Mapping[str, object], *, sample_rate_hz: int, width: int, duration_s: float | None
) -> dict[str, object]:
    """Return the config `stft` with its defaults, all lengths in samples.

    One with a ``_target_`` is returned as it is: it is checked when it is built. `hop_length: auto`
    needs `width`, the columns of the image, and `duration_s`, the length of the sounds.

    Raises:
        ConfigError: for an unknown or missing key, or a value of the wrong type.
        RecipeError: for `auto` where nothing says how long the sounds are.
    """
    if TARGET in given:
        return dict(given)
    stft = _section_of(given)
    if isinstance(stft, StftSection):
        n_window = _in_samples(stft.n_window, sample_rate_hz)
        n_fft = 1 << (n_window - 1).bit_length() if stft.n_fft == AUTO else stft.n_fft
        stft = replace(stft, n_window=n_window, n_fft=n_fft)
    if stft.hop_length != AUTO:
        return asdict(replace(stft, hop_length=_in_samples(stft.hop_length, sample_rate_hz)))
    if duration_s is None:
        raise RecipeError(
            "stft.hop_length is auto; expected a number of samples, since nothing says how long "
            "the sounds are"
        )
    num_samples = round(duration_s * sample_rate_hz)
    if isinstance(stft, StftSection):
        frame = n_window
        hop_length = (num_samples - frame) // max(1, width - 1)
    else:
        frame = longest_kernel(stft.freq_min, stft.bins_per_octave, sample_rate_hz)
        hop_length = spanning_hop(frame, num_samples, width)
    if num_samples < frame + width - 1:
        raise RecipeError(
            f"duration is {duration_s:g}, too short: {num_samples} samples, where a frame alone "
            f"hears {frame} and the image has {width} frames; expected longer sounds, or a "
            "front_end of shorter windows"
        )
    return asdict(replace(stft, hop_length=max(1, hop_length)))


def _section_of(given: Mapping[str, object], where: str = "stft") -> _Section:
    """Check the config `stft` without a ``_target_``; of a cqt, null is the same as left out."""
    kind = check_value(Literal["stft", "mel", "cqt"], given.get("type"), f"{where}.type")
    if kind != "cqt":
        return section(StftSection, given, where)
    said = {key: value for key, value in given.items() if value is not None}
    for key in ("n_fft", "n_window"):
        if key in said:
            raise RecipeError(
                f"{where}.{key} is {shown(said[key])}; expected null where {where}.type is cqt: "
                "each row has a window of its own (front_end=cqt_84 chooses what goes together)"
            )
    return section(CqtSection, said, where)


def _in_samples(length: int | str, sample_rate_hz: int) -> int:
    """Return a length, given in samples or as a time, in samples."""
    if isinstance(length, int):
        return length
    time = _TIME.fullmatch(length)
    assert time is not None
    return max(1, round(float(time[1]) * 1e-3 * sample_rate_hz))


def build_front_end(
    stft: Mapping[str, object],
    mel: Mapping[str, object],
    *,
    sample_rate_hz: int,
    height: int,
    width: int,
    pre_emphasis_coefficient: float = 0.0,
    duration_s: float | None = None,
) -> FrontEnd:
    """Build the front end of the configs `stft` and `mel`.

    `stft` is ``_target_``, the import path of a :class:`FrontEnd`, and its own arguments; or `type`
    and the keys of :class:`StftSection` or :class:`CqtSection`. `mel` has those of
    :class:`MelSection`. `hop_length: auto` needs `duration_s`, the length of the sounds.

    Raises:
        RecipeError: for an unknown or missing key, a value of the wrong type, a class that is no
            front end, or settings that make no image of this size.
    """
    stft, mel = plain_values(stft), plain_values(mel)
    key = "pre_emphasis_coefficient"
    with recipe_errors():
        image: _OfTheRecipe = {
            "sample_rate_hz": sample_rate_hz,
            "height": height,
            "width": width,
            "pre_emphasis_coefficient": check_value(PreEmphasis, pre_emphasis_coefficient, key),
        }
        if TARGET in stft:
            front_end = _built(
                named_class(stft[TARGET], f"stft.{TARGET}", FrontEnd, _FRONT_END), stft, image
            )
        else:
            stft = checked_stft(
                stft, sample_rate_hz=sample_rate_hz, width=width, duration_s=duration_s
            )
            front_end = _of_sections(_section_of(stft), section(MelSection, mel, "mel"), image)
    front_end.check()
    return front_end


def front_end_of(metadata: Metadata) -> FrontEnd:
    """Build the front end that a data set was made with.

    Raises:
        VIMHError: if the metadata do not say how the images were made, or name a class that is
            neither of this project nor trusted.
    """
    stft = metadata.spectrogram_config
    needed = () if TARGET in stft else ("type", *_of_rows(stft), "window_type")
    missing = [key for key in needed if key not in stft]
    rate = stft.get("sample_rate", metadata.sample_rate)
    if missing or rate is None:
        raise VIMHError(
            f"data set {metadata.dataset_name}: spectrogram_config lacks "
            f"{', '.join(missing) or 'sample_rate'}, so a sound cannot be turned into its image"
        )
    front_end = _described(metadata, stft)
    front_end.check()
    return front_end


def axes_of(metadata: Metadata) -> FrontEnd | None:
    """Build the front end that knows the rows and columns of a data set's images.

    It need not be able to make images: what only those need may be missing. It is None where the
    images are of no sounds, or of a class that is neither of this project nor trusted.

    Raises:
        VIMHError: if a setting has no sense.
    """
    stft = metadata.spectrogram_config
    if TARGET in stft:
        target = stft[TARGET]
        if not isinstance(target, str):
            return None
        is_known = target in own_classes(FrontEnd) or current_trust().admits(target)
        return _described(metadata, stft) if is_known else None
    of_axes = {key: stft.get(key) for key in _of_rows(stft) if key != "n_window"}
    if metadata.sample_rate is None or None in of_axes.values():
        return None
    kind = stft.get("type") if stft.get("type") in ("mel", "cqt") else "stft"
    window = {} if kind == "cqt" else {"n_window": stft["n_fft"]}
    rest = {"type": kind, "window_type": "rectangular", **window}
    return _described(metadata, {**of_axes, **rest})


def _of_rows(stft: Mapping[str, object]) -> tuple[str, ...]:
    """Return the keys that say where the rows and columns of a data set's images lie."""
    if stft.get("type") == "cqt":
        return ("freq_min", "bins_per_octave", "hop_length")
    return ("n_fft", "n_window", "hop_length")


def _described(metadata: Metadata, stft: Mapping[str, object]) -> FrontEnd:
    """Build the front end of a config out of a file."""
    rate = stft.get("sample_rate", metadata.sample_rate)
    assert isinstance(rate, int | float)
    with recipe_errors(f"data set {metadata.dataset_name}: "):
        key = "pre_emphasis_coefficient"
        image: _OfTheRecipe = {
            "sample_rate_hz": check_value(SampleRate, int(rate), "sample_rate"),
            "height": metadata.height,
            "width": metadata.width,
            "pre_emphasis_coefficient": check_value(PreEmphasis, metadata.raw.get(key) or 0.0, key),
        }
        if TARGET in stft:
            look_up = listed(own_classes(FrontEnd), "a file may name only front ends")
            key = f"spectrogram_config.{TARGET}"
            cls = named_class(stft[TARGET], key, FrontEnd, _FRONT_END, look_up)
            return _built(cls, {k: v for k, v in stft.items() if k != "sample_rate"}, image)
        own = CqtSection if stft.get("type") == "cqt" else StftSection
        return _of_sections(
            _section_of(_known(own, stft), "spectrogram_config"),
            section(MelSection, _known(MelSection, metadata.mel_config), "mel_config"),
            image,
        )


def _known(cls: type[_Section | MelSection], config: Mapping[str, object]) -> dict[str, object]:
    """Return what a section reads of a config out of a file, which may say more."""
    names = {f.name for f in fields(cls)}
    return {key: value for key, value in config.items() if key in names}


def _built(cls: type[FrontEnd], stft: Mapping[str, object], image: _OfTheRecipe) -> FrontEnd:
    """Build a front end from its own arguments."""
    own = {key: value for key, value in stft.items() if key != TARGET}
    for key in own.keys() & image.keys():
        raise RecipeError(f"stft.{key} is not read; the recipe's own keys say it")
    if "type" in own and "type" not in signature_of(cls).arguments:
        raise RecipeError(
            f"stft.type is {shown(own['type'])}, and stft.{TARGET} is {cls.__name__}, which has no "
            "type: a preset of front_end does not replace it; choose another stft before, as in "
            "stft=pitch_512 front_end=mel_64"
        )
    with class_errors("stft"):
        return cls(**check_arguments(cls, {**own, **image}, "stft"))


def _of_sections(stft: _Section, mel: MelSection, image: _OfTheRecipe) -> FrontEnd:
    """Build a front end of this project by its `type`."""
    own = {key: value for key, value in vars(stft).items() if key != "type"}
    if stft.type != "mel":
        return (Cqt if stft.type == "cqt" else Stft)(**own, **image)
    return Mel(**own, **image, freq_min_hz=mel.freq_min, freq_max_ratio=mel.freq_max_ratio)


def front_end_preset(name: object) -> dict[str, dict[str, object]]:
    """Return what a preset says of a recipe's `image`, `stft` and `mel`.

    Times and `auto` in it become samples where the sample rate and the duration are known:
    :func:`build_front_end`.

    Raises:
        RecipeError: for a name that `configs/front_end` does not have.

    Example:
        >>> front_end_preset("mel_64")["image"]
        {'height': 64, 'width': 64}
    """
    names = sorted(path.stem for path in _PRESETS.glob("*.yaml"))
    if name not in names:
        raise RecipeError(f"{PRESET} is {shown(name)}; expected one of {', '.join(names)}")
    preset: dict[str, dict[str, object]] = plain_values(OmegaConf.load(_PRESETS / f"{name}.yaml"))
    return preset


def with_preset(recipe: Mapping[str, object]) -> dict[str, object]:
    """Return a recipe with its `front_end` spelled out; its own `image`, `stft`, `mel` win.

    Raises:
        RecipeError: for an unknown name, and where nothing of the preset would be left.

    Example:
        >>> with_preset({"front_end": "mel_64", "image": {"height": 40}})["image"]
        {'height': 40, 'width': 64}
    """
    rest = {key: value for key, value in recipe.items() if key != PRESET}
    if recipe.get(PRESET) is None:
        return rest
    preset = front_end_preset(recipe[PRESET])
    own = {key: rest.get(key) or {} for key in preset}
    is_left = False
    for key, part in preset.items():
        given = own[key]
        if isinstance(given, Mapping):  # what is no mapping is refused by the recipe's own check
            rest[key] = {**part, **given}
            is_left |= key != "mel" and not part.keys() <= given.keys()
    if not is_left:
        raise RecipeError(
            f"{PRESET} is {recipe[PRESET]}, but image and stft give all that it says; leave them "
            f"out, or let it follow them: {PRESET}={recipe[PRESET]} on the command line"
        )
    return rest

"""Synthesisers: parameters of a batch of sounds in, audio out.

A new synthesiser is a subclass of :class:`Synthesizer` and one YAML file in `configs/synth/`
that names it by ``_target_`` and gives its parameters' ranges.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float32, Float64
from torch import Tensor

from src.schema.arguments import check_arguments, unknown_key
from src.synth.errors import RecipeError, class_errors, named_class
from src.synth.parameter_sections import drawn_quantity, recipe_parameter
from src.synth.scripted import scripted
from src.synth.waves import midi_to_hz
from src.vimh.parameters import ParameterSpace

if TYPE_CHECKING:
    from src.synth.engines.control import Control


class Synthesizer(ABC):
    """A batch of parameters in, a batch of sounds out.

    Subclasses set `synth_type` (names it in metadata and data set names) and `parameter_names`
    (what `render` reads; those in `other_names` may be given in their place) and define `render`.
    Every sample is computed by itself, elementwise or along its own time axis, so that it has the
    same bits in every batch.

    One thread uses one instance: generating builds an instance for each of its threads. So
    `render` may keep working memory in `self`, but nothing that reaches a later sound, and it
    changes nothing that instances share (class attributes, globals, NumPy's or torch's global
    random numbers). Random numbers come from a seed that the constructor has. While generating,
    a few sounds are rendered again and compared (:class:`src.synth.rendering.Renderer`).

    Args:
        parameters: name → `min`, `max`, `step`, `unit`, `description` in the order of the grid
            (last one fastest); `min == max` fixes a parameter.
        sample_rate_hz: samples a second.
        duration_s: length of a sound.
        draws: name → `min`, `max`, `spacing`, of a subclass that has `draw_names`.

    A subclass that is faster with many sounds at a time says so by `batch_size`. One that draws
    other quantities than it reports names them in `draw_names` and defines `derive`. One with a
    parameter that does nothing but scale the sound names it as `level_parameter`: the sound is
    proportional to that parameter's value to the power of `level_power`.

    Raises:
        VIMHError: for a parameter that is missing, unknown or not well-formed.
    """

    synth_type: ClassVar[str]
    parameter_names: tuple[str, ...]  # of the class; of an engine's synthesiser, of the instance
    other_names: ClassVar[Mapping[str, str]] = {}
    draw_names: ClassVar[tuple[str, ...]] = ()
    level_parameter: ClassVar[str | None] = None
    level_power: ClassVar[int] = 1
    batch_size: ClassVar[int] = 1  # generating gives `render` so many, as far as memory allows
    # Whether a new instance was compared with another before generating began.
    is_audited: ClassVar[bool] = False
    varies = False  # whether two sounds of the same values may differ
    is_exact: ClassVar[bool] = False  # whether `render_float64` has the digits of float64
    # Arguments that do not decide the sounds: data sets that differ in them alone are the same.
    beside_identity: ClassVar[frozenset[str]] = frozenset()

    def __init__(
        self,
        parameters: Mapping[str, object],
        *,
        sample_rate_hz: int,
        duration_s: float,
        draws: Mapping[str, object] | None = None,
    ) -> None:
        others = {own: name for own, name in self.other_names.items() if name in parameters}
        names = [others.get(name, name) for name in self.parameter_names]
        for name in parameters:
            if name not in names:
                raise RecipeError(unknown_key(f"synth.parameters.{name}", name, names))
        missing = [name for name in names if name not in parameters]
        if missing:
            raise RecipeError(
                f"synth.parameters.{missing[0]} is missing; expected min, max and step "
                f"({self.synth_type} has {', '.join(names)}; missing: "
                f"{', '.join(missing)})"
            )
        self.parameters = ParameterSpace(
            recipe_parameter(name, mapping) for name, mapping in parameters.items()
        )
        if not self.parameters.heads:
            raise RecipeError("synth.parameters: every range is a single value, nothing to learn")
        if draws and not self.draw_names:
            raise RecipeError(
                f"synth.draws is not read: {self.synth_type} draws its parameters themselves"
            )
        self.draws = ParameterSpace(
            drawn_quantity(name, mapping, self.draw_names)
            for name, mapping in (draws or {}).items()
        )
        self.set_name: str = self.synth_type  # of a data set that gets no name
        self.sample_rate_hz = sample_rate_hz
        self.duration_s = duration_s

    @property
    def num_samples(self) -> int:
        """Length of a whole sound in samples: ``round(duration · rate)``."""
        return round(self.duration_s * self.sample_rate_hz)

    def check_generating(self) -> None:
        """Refuse parameters whose values the sounds would not follow as the config says.

        Only generating asks: a set that is there is read, and rendered again, as it was made.
        A subclass that limits a value says here which range would pass the limit.

        Raises:
            VIMHError: for a `scale` other than "linear".
        """
        for name, parameter in self.parameters.items():
            if parameter.scale not in (None, "linear"):
                raise RecipeError(
                    f"synth.parameters.{name}.scale is {parameter.scale!r}, expected linear: leave "
                    "scale out, and say spacing=log where equal steps are to be equal ratios"
                )

    @classmethod
    def completed(
        cls, config: Mapping[str, Any], *, sample_rate_hz: int, duration_s: float
    ) -> dict[str, Any]:
        """Return a user's config with all that its recipe keeps; most classes add nothing.

        Args:
            config: the user's own `synth`. That of a file is complete, and is never given here.
            sample_rate_hz: samples a second.
            duration_s: length of a sound.
        """
        return dict(config)

    @classmethod
    def engine_controls(
        cls, config: Mapping[str, Any], *, sample_rate_hz: int, duration_s: float
    ) -> "list[Control] | None":
        """Return what a user's config may set, where that is more than its parameters.

        Args:
            config: the user's own `synth`.
            sample_rate_hz: samples a second.
            duration_s: length of a sound.
        """
        return None

    @classmethod
    def admitted(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return a file's config without what only the user may name: programs and plug-ins.

        Args:
            config: `synth` of a recipe that anybody may have written.

        Raises:
            VIMHError: if the user does not trust what it needs.
        """
        return dict(config)

    def audited(self) -> dict[str, Any]:
        """Return what else the recipe keeps once the sounds were tried; most classes add nothing.

        Raises:
            VIMHError: if a sound depends on more than its parameters.
        """
        return {}

    def derive(
        self, draws: Mapping[str, Float64[np.ndarray, "B"]]
    ) -> Mapping[str, Float64[np.ndarray, "B"]]:
        """Return what a sound determines of what was drawn: the value of every parameter.

        Only generating draws. Where values are given, they are rendered as they are.

        Args:
            draws: the numbers drawn for each sample, by `draw_names`.
        """
        raise AssertionError(f"{type(self).__name__} has draw_names, but no derive")

    @abstractmethod
    def render(
        self, values: Mapping[str, Float64[np.ndarray, "B"]], num_samples: int | None = None
    ) -> Float32[np.ndarray, "B T"]:
        """Render a batch.

        Args:
            values: every parameter's value for each sample, in its unit, fixed ones too; of a
                categorical parameter the index of its class, 0.0, 1.0, …
            num_samples: T, the length wanted: the first T samples of the sound, to the last bit;
                None: the whole sound.

        Returns:
            The sounds: finite, float32.
        """

    def render_float64(
        self,
        values: Mapping[str, Float64[np.ndarray, "B"]],
        num_samples: int | None = None,
        below_hz: float | None = None,
    ) -> Float64[np.ndarray, "B T"]:
        """Render a batch as exactly as this synthesiser can; :mod:`src.refining` asks for it.

        Args:
            values: as in :meth:`render`.
            num_samples: T; None: the whole sound.
            below_hz: what lies above it need not be right, where that saves time; None: all is.
        """
        return self.render(values, num_samples).astype(np.float64)


def build_synthesizer(
    config: Mapping[str, object], *, sample_rate_hz: int, duration_s: float
) -> Synthesizer:
    """Build the synthesiser that `_target_` names from the other keys.

    Args:
        config: the recipe's `synth`: `_target_`, `parameters` and the class's own arguments.
        sample_rate_hz: samples a second.
        duration_s: length of a sound.

    Raises:
        VIMHError: if `_target_` names no subclass of :class:`Synthesizer`, or a key is unknown.

    Example:
        >>> synth = build_synthesizer(
        ...     {"_target_": "src.synth.synthesizers.SimpleSawSynth", "parameters": {
        ...         "note_number": {"min": 57, "max": 57},
        ...         "note_velocity": {"min": 10, "max": 126, "step": 2},
        ...         "log10_decay_time": {"min": -2.0, "max": 0.3, "step": 0.1}}},
        ...     sample_rate_hz=8000, duration_s=1.0)
        >>> synth.synth_type, synth.parameters.heads.names, synth.num_samples
        ('simple', ('note_velocity', 'log10_decay_time'), 8000)
    """
    given = {key: value for key, value in config.items() if key != "_target_"}
    cls = synthesizer_class(config)
    sound = {"sample_rate_hz": sample_rate_hz, "duration_s": duration_s}
    for key in sound.keys() & given.keys():
        raise RecipeError(f"synth.{key} is not read; sample_rate and duration say it")
    with class_errors("synth"):
        synthesizer: Synthesizer = cls(**check_arguments(cls, {**given, **sound}, "synth"))
    return synthesizer


def synthesizer_class(config: Mapping[str, object]) -> type[Synthesizer]:
    """Import the class that a recipe's `synth` names.

    Raises:
        RecipeError: if it is no subclass of :class:`Synthesizer`.
    """
    target, example = config.get("_target_"), "src.synth.synthesizers.SimpleSawSynth"
    cls: type[Synthesizer] = named_class(target, "synth._target_", Synthesizer, example)
    return cls


_ENVELOPE_BLOCK = 128  # samples; fixed, so that a shorter rendering has the same bits
# Samples of the sounds that are worked on at a time, so that their arrays stay in the cache.
_PRODUCT_SAMPLES = 40960


def _decaying_sawtooth(
    note_hz: Tensor, time_s: Tensor, starts: Tensor, within: Tensor, product: Tensor, audio: Tensor
) -> None:
    """The sounds of `SimpleSawSynth`, worked out in float64.

    Args:
        note_hz: (B, 1, 1), or (1, 1, 1) where it is the same for all.
        time_s: (1, K, M), of K blocks of M samples.
        starts: (B, K, 1), the envelope where the blocks start.
        within: (B, 1, M), the envelope within a block, 1 at its start.
        product: room for some sounds at a time, float64 (R, K, M).
        audio: where they go, float32 (B, K, M).
    """
    count, rows = starts.size(0), product.size(0)
    shared = note_hz.size(0) < count
    saw = product
    for first in range(0, count, rows):
        last = min(first + rows, count)
        if first == 0 or not shared:
            saw = note_hz[first:last] * time_s  # `sawtooth`, operation by operation
            saw.sub_(0.5)
            saw.sub_(saw.floor()).mul_(2.0).sub_(1.0)
        some = product[: last - first]
        torch.mul(saw, within[first:last], out=some)
        audio[first:last].copy_(some.mul_(starts[first:last]))


_DECAYING_SAWTOOTH = scripted(_decaying_sawtooth)


class SimpleSawSynth(Synthesizer):
    r"""An exponentially decaying sawtooth.

    .. math::
        x[n] = \frac{v}{127} \, e^{-t/\tau} \, (2 (p - \lfloor p \rfloor) - 1), \quad
        p = f t - 0.5, \quad t = n / \mathrm{rate}

    with f = 440 · 2^((note_number − 69)/12) Hz (MIDI tuning standard), τ = 10^log10_decay_time s
    and v = note_velocity. It starts at 0 and rises. Computed in float64, returned in float32.
    The saw is not band-limited: its aliases are part of the sound.
    """

    synth_type = "simple"
    parameter_names = ("note_number", "note_velocity", "log10_decay_time")
    level_parameter = "note_velocity"

    def render(
        self, values: Mapping[str, Float64[np.ndarray, "B"]], num_samples: int | None = None
    ) -> Float32[np.ndarray, "B T"]:
        """Render a batch; see :meth:`Synthesizer.render`."""
        length = self.num_samples if num_samples is None else num_samples
        count, blocks = len(values["note_number"]), -(-length // _ENVELOPE_BLOCK)
        note_hz = midi_to_hz(values["note_number"])
        # One waveform for all where the note is the same; elementwise, so the bits are too.
        note_hz = note_hz[:1] if (note_hz == note_hz[:1]).all() else note_hz
        time_s = np.arange(float(blocks * _ENVELOPE_BLOCK)) / self.sample_rate_hz
        starts, within = self._envelope(values["log10_decay_time"], blocks)
        starts *= (values["note_velocity"] / 127.0)[:, None]
        # NumPy's memory is used again for the next batch; torch's, being aligned, often is not.
        audio = np.empty((count, blocks, _ENVELOPE_BLOCK), np.float32)
        arrays = (
            note_hz[:, None, None],
            time_s.reshape(1, blocks, _ENVELOPE_BLOCK),
            starts[:, :, None],
            within[:, None, :],
            np.empty((max(1, _PRODUCT_SAMPLES // length), blocks, _ENVELOPE_BLOCK)),
            audio,
        )
        _DECAYING_SAWTOOTH(*map(torch.from_numpy, arrays))
        return audio.reshape(count, -1)[:, :length]

    def _envelope(
        self, log10_decay_time: Float64[np.ndarray, "B"], blocks: int
    ) -> tuple[Float64[np.ndarray, "B K"], Float64[np.ndarray, "B M"]]:
        """``exp(−t/τ)`` as the product of its values at block starts and within a block.

        ``exp(−(aM + b)/r) = exp(−aM/r) · exp(−b/r)``, exact but for one rounding: K + M
        exponentials instead of K·M.
        """
        decay_samples = (10.0**log10_decay_time * self.sample_rate_hz)[:, None]
        starts = np.arange(float(blocks)) * _ENVELOPE_BLOCK
        within = np.arange(float(_ENVELOPE_BLOCK))
        return np.exp(-starts / decay_samples), np.exp(-within / decay_samples)

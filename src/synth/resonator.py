"""A two-pole resonator, struck by an impulse or by a burst of noise."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, NamedTuple

import numpy as np
import scipy.signal
from annotated_types import Interval
from jaxtyping import Complex128, Float32, Float64

from src.schema.bounds import Seed
from src.synth.synthesizers import Synthesizer
from src.synth.waves import fill_lanes
from src.vimh.errors import VIMHError

_BLOCK = 128  # samples; fixed, so that a shorter rendering has the same bits
_BLOCKS = 8  # their number is a multiple of it, so that rows fill the vector registers
_SILENCE = 100.0  # a ringing e^100 times weaker is below float32's smallest number
_NOISE_RMS = 0.25


class Resonance(NamedTuple):
    """Coefficients of a two-pole band-pass, divided by a0, one element a sample.

    ``H(z) = b (1 − z⁻²) / (1 + a1 z⁻¹ + a2 z⁻²)``, poles ``exp(−decay ± i·angle)``.
    """

    b: Float64[np.ndarray, "B"]
    a1: Float64[np.ndarray, "B"]
    a2: Float64[np.ndarray, "B"]
    decay: Float64[np.ndarray, "B"]  # nepers a sample
    angle: Float64[np.ndarray, "B"]  # radians a sample


def resonance(
    frequency_hz: Float64[np.ndarray, "B"], q: Float64[np.ndarray, "B"], sample_rate_hz: int
) -> Resonance:
    r"""Return the band-pass of constant 0 dB peak gain of the Audio EQ Cookbook.

    .. math::
        \alpha = \frac{\sin\omega}{2Q}, \quad
        H(z) = \frac{\alpha (1 - z^{-2})}{(1 + \alpha) - 2\cos\omega\,z^{-1} + (1 - \alpha) z^{-2}}

    with ω = 2π f / rate (R. Bristow-Johnson, "Cookbook formulae for audio EQ biquad filter
    coefficients", published as a W3C Working Group Note, 2021). For Q > ½ the poles are complex,
    of radius ``sqrt((1 − α)/(1 + α)) = exp(−artanh α)``.

    f is the centre, between 0 and Nyquist, and Q the centre over the bandwidth at −3 dB, above ½.

    Example:
        >>> r = resonance(np.array([2000.0]), np.array([2.0]), 8000)
        >>> r.b.round(3).tolist(), r.a2.round(3).tolist(), r.angle.round(3).tolist()
        ([0.2], [0.6], [1.571])
    """
    omega = 2.0 * np.pi * frequency_hz / sample_rate_hz
    sine, cosine = np.sin(omega), np.cos(omega)
    alpha = sine / (2.0 * q)
    return Resonance(
        b=alpha / (1.0 + alpha),
        a1=-2.0 * cosine / (1.0 + alpha),
        a2=(1.0 - alpha) / (1.0 + alpha),
        decay=np.arctanh(alpha),
        angle=np.arctan2(np.sqrt(sine**2 - alpha**2), cosine),
    )


def _plain(values: Mapping[str, Float64[np.ndarray, "B"]], name: str) -> Float64[np.ndarray, "B"]:
    """Return what is given as itself, or as its base-10 logarithm."""
    return values[name] if name in values else 10.0 ** values[f"log10_{name}"]


class ResonatorSynth(Synthesizer):
    """A two-pole resonator of frequency 10^log10_frequency Hz and Q 10^log10_q.

    Or of frequency `frequency` in Hz and Q `q`, where these are among the parameters instead.
    Struck by a unit impulse it gives its impulse response, in closed form; struck by noise, that
    noise through the filter. Times note_velocity/127. Computed in float64, returned in float32.

    Args:
        parameters, sample_rate_hz, duration_s: as of every synthesiser.
        excitation: "impulse", or "noise": Gaussian white noise of RMS 0.25 from the start on, the
            same in every sound.
        burst_s: length of the noise.
        noise_seed: what it is drawn from.

    Raises:
        VIMHError: for a burst that is empty, or a range outside of 0 < frequency < Nyquist and
            Q > ½.
    """

    synth_type = "resonator"
    parameter_names = ("log10_frequency", "log10_q", "note_velocity")
    other_names: ClassVar = {"log10_frequency": "frequency", "log10_q": "q"}
    level_parameter = "note_velocity"

    def __init__(
        self,
        parameters: Mapping[str, object],
        *,
        sample_rate_hz: int,
        duration_s: float,
        excitation: Literal["impulse", "noise"] = "impulse",
        burst_s: Annotated[float, Interval(gt=0, le=3600)] = 0.05,
        noise_seed: Seed = 0,
    ) -> None:
        super().__init__(parameters, sample_rate_hz=sample_rate_hz, duration_s=duration_s)
        burst_samples = round(burst_s * sample_rate_hz)
        if burst_samples < 1:
            raise VIMHError(f"synth.burst_s is {burst_s:g}; expected at least one sample")
        frequency, q = (
            self.parameters[name if name in self.parameters else f"log10_{name}"]
            for name in ("frequency", "q")
        )
        with np.errstate(over="ignore"):
            (highest_hz,) = _plain({frequency.name: np.array([frequency.max])}, "frequency")
        if highest_hz >= sample_rate_hz / 2:
            raise VIMHError(
                f"synth.parameters.{frequency.name}.max is {frequency.max}: {highest_hz:.0f} Hz is "
                f"not below half the sample rate, {sample_rate_hz / 2:.0f} Hz"
            )
        if q.min <= (0.5 if q.name == "q" else np.log10(0.5)):
            raise VIMHError(
                f"synth.parameters.{q.name}.min is {q.min}: Q must be above 0.5 (log10: -0.3)"
            )
        self.excitation = excitation
        noise = np.random.Generator(np.random.Philox(key=noise_seed)).standard_normal(
            min(burst_samples, self.num_samples)  # what is heard of it
        )
        self._burst = _NOISE_RMS * noise

    def render(
        self, values: Mapping[str, Float64[np.ndarray, "B"]], num_samples: int | None = None
    ) -> Float32[np.ndarray, "B T"]:
        """Render a batch; see :meth:`Synthesizer.render`."""
        length = self.num_samples if num_samples is None else num_samples
        count = len(values["note_velocity"])
        filled = fill_lanes(values)
        frequency_hz, q = (_plain(filled, name) for name in ("frequency", "q"))
        poles = resonance(frequency_hz, q, self.sample_rate_hz)
        gain = filled["note_velocity"] / 127.0
        if self.excitation == "impulse":
            return _impulse_response(poles, gain, length)[:count]
        poles = Resonance(*(column[:count] for column in poles))
        return self._filtered_burst(poles, gain[:count], length)

    def _filtered_burst(
        self, poles: Resonance, gain: Float64[np.ndarray, "B"], length: int
    ) -> Float32[np.ndarray, "B T"]:
        """The burst through each filter, up to where the ringing is below float32's reach."""
        audio = np.zeros((len(gain), length), np.float32)
        excitation = np.zeros(length)
        excitation[: len(self._burst)] = self._burst[:length]
        ends = len(self._burst) + np.ceil(_SILENCE / poles.decay).astype(int)
        for row, (b, a1, a2, end) in enumerate(zip(*poles[:3], ends, strict=True)):
            b_g = b * gain[row]
            audio[row, :end] = scipy.signal.lfilter(
                [b_g, 0.0, -b_g], [1.0, a1, a2], excitation[:end]
            )
        return audio


def _impulse_response(
    poles: Resonance, gain: Float64[np.ndarray, "B"], length: int
) -> Float32[np.ndarray, "B T"]:
    r"""Return the impulse response in closed form.

    .. math::
        h[0] = b, \quad h[n] = b\,\mathrm{Re}(C p^n) \text{ for } n > 0, \quad
        C = 1 + \frac{1}{a_2} - i\,d

    p is the upper pole, and d follows from h[1] = −b·a1. The power is split as
    ``p^(aM + k) = p^(aM) · p^k``: K + M transcendental functions instead of K·M.
    """
    blocks = -(-length // (_BLOCK * _BLOCKS)) * _BLOCKS
    real = 1.0 + 1.0 / poles.a2
    radius = np.exp(-poles.decay)
    imaginary = -(-poles.a1 / radius - real * np.cos(poles.angle)) / np.sin(poles.angle)
    within = _powers(poles, np.arange(float(_BLOCK)))
    starts = _powers(poles, np.arange(float(blocks)) * _BLOCK)
    starts *= (poles.b * gain * (real + 1j * imaginary))[:, None]
    sound = starts.real[:, :, None] * within.real[:, None, :]
    sound -= starts.imag[:, :, None] * within.imag[:, None, :]
    sound[:, 0, 0] = poles.b * gain
    return sound.reshape(len(gain), -1)[:, :length].astype(np.float32)


def _powers(poles: Resonance, exponents: Float64[np.ndarray, "K"]) -> Complex128[np.ndarray, "B K"]:
    """``p^n`` of the upper pole, (B, K)."""
    magnitude = np.exp(-poles.decay[:, None] * exponents)
    angle = poles.angle[:, None] * exponents
    power = np.empty(angle.shape, np.complex128)
    power.real, power.imag = magnitude * np.cos(angle), magnitude * np.sin(angle)
    return power

"""A plucked or struck string: a delay line in a loop with a damping filter."""

from collections.abc import Mapping
from typing import Annotated, Literal, NamedTuple

import numpy as np
import scipy.signal
from annotated_types import Interval
from jaxtyping import Float32, Float64, Int64

from src.schema.bounds import Seed
from src.synth.synthesizers import Synthesizer
from src.synth.waves import fill_lanes, midi_to_hz
from src.vimh.errors import VIMHError

_DAMPING = 0.5  # S of a string that is left alone: the mean of two neighbours
_SHORTEST_DELAY = 0.1  # samples of the tuning filter; it is good from there to one more
_LEVEL = 0.5  # of the excitation at full velocity, so that reflections stay within full scale


class Loop(NamedTuple):
    """What one turn around the string does, one element a sound.

    ``ρ z^−N · ((1 − S) + S z⁻¹) · (C + z⁻¹)/(1 + C z⁻¹)``: delay line, damping and tuning.
    """

    delay: Int64[np.ndarray, "B"]  # N, samples
    loss: Float64[np.ndarray, "B"]  # ρ, 0…1
    damping: Float64[np.ndarray, "B"]  # S, 0…½
    tuning: Float64[np.ndarray, "B"]  # C of the allpass


def string_loop(
    frequency_hz: Float64[np.ndarray, "B"],
    decay_s: Float64[np.ndarray, "B"],
    sample_rate_hz: int,
) -> Loop:
    r"""Return the loop whose fundamental has this frequency and falls as ``exp(−t/τ)``.

    K. Karplus and A. Strong, "Digital synthesis of plucked-string and drum timbres", Computer
    Music Journal 7(2), 1983; D. A. Jaffe and J. O. Smith, "Extensions of the Karplus-Strong
    plucked-string algorithm", in the same issue, for decay, tuning and the point of the pluck.

    One turn of 1/f seconds has to leave ``g = exp(−1/(f τ))`` of the fundamental. The average of
    two neighbours, S = ½, leaves cos(ω/2). Where that is more than g, the loss ρ does the rest.
    Where it is less, ρ is 1 and S becomes smaller:

    .. math::
        |1 - S + S e^{-i\omega}|^2 = 1 - 2 S (1 - S) (1 - \cos\omega) = g^2

    The phase delays of all three parts add up to the period. The allpass makes up the fraction d:
    C = sin((ω − ωd)/2) / sin((ω + ωd)/2).

    f is that of the fundamental, between 0 and Nyquist, and τ the time constant of its amplitude.

    Example:
        >>> loop = string_loop(np.array([100.0]), np.array([0.1]), 8000)
        >>> loop.delay.tolist(), loop.loss.round(3).tolist(), loop.damping.tolist()
        ([79], [0.906], [0.5])
    """
    omega = 2.0 * np.pi * frequency_hz / sample_rate_hz
    left = np.exp(-1.0 / (frequency_hz * decay_s))
    # S(1 − S) that leaves g by itself; a quarter is the most that there is, at S = ½.
    product = (1.0 - left**2) / (2.0 * (1.0 - np.cos(omega)))
    damping = _DAMPING - np.sqrt(np.maximum(0.25 - product, 0.0))
    loss = np.where(product > 0.25, left / np.cos(omega / 2.0), 1.0)
    sine, cosine = damping * np.sin(omega), 1.0 - damping + damping * np.cos(omega)
    rest = sample_rate_hz / frequency_hz - np.arctan2(sine, cosine) / omega
    delay = np.floor(rest - _SHORTEST_DELAY)
    angle = omega * (rest - delay)
    tuning = np.sin((omega - angle) / 2.0) / np.sin((omega + angle) / 2.0)
    return Loop(delay.astype(np.int64), loss, damping, tuning)


class StringSynth(Synthesizer):
    """A string of pitch note_number whose fundamental falls with τ = 10^log10_decay_time s.

    Plucked, it starts from a period of noise, the same in every sound; struck, from the pulse of
    a hammer. Both are reflected at the near end, `position` of a period later: harmonics that
    have a node there are missing, and so is a constant part, which a string without loss would
    keep for ever. Times note_velocity/127. Computed in float64, returned in float32.

    Args:
        parameters, sample_rate_hz, duration_s: as of every synthesiser.
        excitation: "pluck", or "strike".
        position: where, as a share of the string's length, 0…1.
        contact_s: how long the hammer touches the string.
        noise_seed: what the noise is drawn from.

    Raises:
        VIMHError: for a contact of less than a sample, or a pitch that is not between four
            samples a period and one period a sound.
    """

    synth_type = "string"
    parameter_names = ("note_number", "note_velocity", "log10_decay_time")
    level_parameter = "note_velocity"

    def __init__(
        self,
        parameters: Mapping[str, object],
        *,
        sample_rate_hz: int,
        duration_s: float,
        excitation: Literal["pluck", "strike"] = "pluck",
        position: Annotated[float, Interval(gt=0, lt=1)] = 0.2,
        contact_s: Annotated[float, Interval(gt=0, le=3600)] = 0.001,
        noise_seed: Seed = 0,
    ) -> None:
        super().__init__(parameters, sample_rate_hz=sample_rate_hz, duration_s=duration_s)
        contact_samples = round(contact_s * sample_rate_hz)
        if not 1 <= contact_samples <= self.num_samples:
            raise VIMHError(
                f"synth.contact_s is {contact_s:g}; expected at least one sample and at most the "
                "sound"
            )
        note = self.parameters["note_number"]
        with np.errstate(over="ignore"):
            lowest_hz, highest_hz = midi_to_hz(np.array([note.min, note.max]))
        if highest_hz > sample_rate_hz / 4 or lowest_hz * duration_s < 1:
            raise VIMHError(
                f"synth.parameters.note_number: {lowest_hz:.1f}…{highest_hz:.0f} Hz; a string "
                f"needs at least {1 / duration_s:g} Hz, a period in the sound, and at most "
                f"{sample_rate_hz / 4:g} Hz, four samples a period"
            )
        self.excitation = excitation
        self.position = position
        self._hammer = 0.5 - 0.5 * np.cos(
            2.0 * np.pi * np.arange(1.0, contact_samples + 1.0) / (contact_samples + 1.0)
        )
        longest = int(np.ceil(sample_rate_hz / lowest_hz))
        self._noise = np.random.Generator(np.random.Philox(key=noise_seed)).uniform(
            -1.0, 1.0, longest
        )

    def render(
        self, values: Mapping[str, Float64[np.ndarray, "B"]], num_samples: int | None = None
    ) -> Float32[np.ndarray, "B T"]:
        """Render a batch; see :meth:`Synthesizer.render`."""
        length = self.num_samples if num_samples is None else num_samples
        count = len(values["note_number"])
        filled = fill_lanes(values)
        loop = string_loop(
            midi_to_hz(filled["note_number"]),
            10.0 ** filled["log10_decay_time"],
            self.sample_rate_hz,
        )
        gain = _LEVEL * filled["note_velocity"] / 127.0
        audio = np.empty((count, length), np.float32)
        for row in range(count):
            one = Loop(*(column[row] for column in loop))
            audio[row] = _vibrate(one, gain[row] * self._strike(int(one.delay)), length)
        return audio

    def _strike(self, period: int) -> Float64[np.ndarray, "M"]:
        """Return the excitation and its reflection, for a string of so many samples a period."""
        burst = self._noise[:period] if self.excitation == "pluck" else self._hammer
        reflected = max(1, round(self.position * period))
        wave = np.zeros(len(burst) + reflected)
        wave[: len(burst)] = burst
        wave[reflected:] -= burst
        return wave


def _vibrate(loop: Loop, wave: Float64[np.ndarray, "M"], length: int) -> Float64[np.ndarray, "T"]:
    r"""Return the string's sound: the loop with the wave fed in, as one recursive filter.

    .. math::
        Y = X + \rho z^{-N} ((1 - S) + S z^{-1}) \frac{C + z^{-1}}{1 + C z^{-1}} Y

    Multiplied by 1 + C z⁻¹ it has three coefficients beside these two, at N, N + 1 and N + 2.
    """
    period, loss, damping, tuning = loop
    through, kept = loss * (1.0 - damping), loss * damping
    backward = np.zeros(int(period) + 3)
    backward[:2] = 1.0, tuning
    backward[int(period) :] -= through * tuning, through + kept * tuning, kept
    excitation = np.zeros(length)
    excitation[: len(wave)] = wave[:length]
    return scipy.signal.lfilter([1.0, tuning], backward, excitation)

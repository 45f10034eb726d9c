"""A sawtooth through a Moog ladder: four low-pass poles with a tanh in each, and feedback."""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float32, Float64
from torch import Tensor

from src.synth.scripted import scripted
from src.synth.synthesizers import Synthesizer
from src.synth.waves import fill_lanes, midi_to_hz, sawtooth
from src.vimh.errors import VIMHError

NOTE_OFF = 0.6  # share of the sound's duration after which the envelope is released
WAVEFORMS = ("saw", "square")  # in the order of their classes
HIGHEST_CUTOFF = 0.45  # of the sample rate: up to there the corrections below are fitted

_BLOCK = 128  # samples; fixed, so that a shorter rendering has the same bits
_OVERSAMPLING = 2  # that of the corrections
_ROWS = 8  # times at which the coefficients are worked out together, so that they stay in the cache


def adsr(
    time_s: Float64[np.ndarray, "T 1"],
    attack_s: Float64[np.ndarray, "B"],
    decay_s: Float64[np.ndarray, "B"],
    sustain: Float64[np.ndarray, "B"],
    release_s: Float64[np.ndarray, "B"],
    note_off_s: float,
) -> Float64[np.ndarray, "T B"]:
    """Return an envelope of straight lines, 0…1.

    It rises from 0 to 1 in the attack time, falls to `sustain` in the decay time, stays there
    until the note ends, and falls from where it is then to 0 in the release time. A time of 0 is
    a jump.

    Example:
        >>> one = np.ones(1)
        >>> time_s = np.array([[0.0], [0.5], [1.0], [1.5], [3.0], [4.0], [4.5], [6.0]])
        >>> adsr(time_s, one, one, 0.5 * one, one, 4.0)[:, 0].tolist()
        [0.0, 0.5, 1.0, 0.75, 0.5, 0.5, 0.25, 0.0]
    """
    held_s = np.minimum(time_s, note_off_s)
    rising = _ramp(held_s, attack_s)
    falling = _ramp(held_s - attack_s, decay_s)
    released = _ramp(time_s - note_off_s, release_s)
    return (rising - (1.0 - sustain) * falling) * (1.0 - released)


def _ramp(
    time_s: Float64[np.ndarray, "T #B"], length_s: Float64[np.ndarray, "B"]
) -> Float64[np.ndarray, "T B"]:
    """0 before time 0, 1 after `length_s`, a line between."""
    jump = time_s >= length_s
    return np.where(jump, 1.0, np.maximum(time_s, 0.0) / np.where(length_s > 0, length_s, 1.0))


def ladder_coefficients(
    cutoff_hz: Float64[np.ndarray, "*N"],
    resonance: Float64[np.ndarray, "B"],
    sample_rate_hz: int,
) -> tuple[Float64[np.ndarray, "*N"], Float64[np.ndarray, "*N"]]:
    r"""Return the ladder's g and half its feedback gain.

    .. math::
        g = 1 - e^{-\pi f c(f)}, \quad k = 4 r\,a(f), \quad f = \mathrm{cutoff}/\mathrm{rate}

    with the corrections for the delay in the feedback, fitted for twice the sample rate,
    c = 1.8730 f³ + 0.4955 f² − 0.6490 f + 0.9988 and a = −3.9364 f² + 1.8409 f + 0.9968
    (Huovilainen 2004, in the form that V. Lazzarini's `moogladder` in Csound has).

    Example:
        >>> g, half_k = ladder_coefficients(np.array([800.0]), np.array([0.5]), 8000)
        >>> g.round(4).tolist(), half_k.round(4).tolist()
        ([0.2559], [1.1415])
    """
    f = cutoff_hz / sample_rate_hz
    tuning = ((1.8730 * f + 0.4955) * f - 0.6490) * f + 0.9988
    gain = (-3.9364 * f + 1.8409) * f + 0.9968
    return 1.0 - np.exp(-np.pi * f * tuning), 2.0 * resonance * gain


def _ladder(state: Tensor, x: Tensor, g: Tensor, half_k: Tensor, out: Tensor) -> None:
    """Run a batch of B ladders for T samples.

    At twice the sample rate, with the feedback taken half a sample late (the mean of the last two
    outputs), for stages k = 1…4:

        u = x − r_k (y4[n−1] + y4[n−2])/2
        y1[n] = y1[n−1] + g (tanh u − tanh y1[n−1])
        yk[n] = yk[n−1] + g (tanh y(k−1)[n] − tanh yk[n−1])

    A. Huovilainen, "Non-linear digital implementation of the Moog ladder filter", DAFx 2004, with
    voltages in units of 2 V_T, on the linear model of T. Stilson and J. Smith, "Analyzing the
    Moog VCF with considerations for digital implementation", ICMC 1996. The feedback takes from
    the low frequencies as in the original; nothing makes up for it.

    Args:
        state: (9, B), tanh y1…y4, y1…y4, and y4 one step before; zeros at the beginning.
        x: (2T, B) or (2T, 1), input at twice the sample rate.
        g: (T, B), or (1, B) where it is the same for all times.
        half_k: likewise.
        out: (T, B), where the output at the sample rate goes.
    """
    tanh1, tanh2, tanh3, tanh4, y1, y2, y3, y4, before = state.unbind(0)
    u = torch.empty_like(before)
    change = torch.empty_like(before)
    steps = out.size(0)
    g = g.expand(steps, -1)
    half_k = half_k.expand(steps, -1)
    for n in range(steps):
        g_n = g[n]
        half_k_n = half_k[n]
        for half in range(2):
            torch.add(y4, before, out=u)
            torch.addcmul(x[2 * n + half], u, half_k_n, value=-1.0, out=u)
            torch.tanh(u, out=u)
            before.copy_(y4)
            torch.sub(u, tanh1, out=change)
            torch.tanh(y1.addcmul_(change, g_n), out=tanh1)
            torch.sub(tanh1, tanh2, out=change)
            torch.tanh(y2.addcmul_(change, g_n), out=tanh2)
            torch.sub(tanh2, tanh3, out=change)
            torch.tanh(y3.addcmul_(change, g_n), out=tanh3)
            torch.sub(tanh3, tanh4, out=change)
            torch.tanh(y4.addcmul_(change, g_n), out=tanh4)
        out[n].copy_(y4)


_LADDER = scripted(_ladder)


class MoogSynth(Synthesizer):
    """A sawtooth through a ladder low-pass, then an exponential decay.

    ``note_velocity/127 · exp(−t/τ) · ladder(saw(f·t))`` with the saw, its frequency and τ of
    :class:`~src.synth.synthesizers.SimpleSawSynth`: oscillator, filter and amplifier in this
    order, as in the instrument, so that velocity does not change the filter's distortion. The saw
    of amplitude 1 drives the first tanh.

    Cutoff is ``10^log10_cutoff · 2^(env_octaves · adsr)`` Hz, at most 0.45 of the sample rate;
    env_attack, env_decay and env_release in seconds; the note ends at 60 % of the duration (for
    the filter's envelope; the amplitude just decays). resonance is 0…1, self-oscillation begins
    at 1. Phase, cutoff and decay are computed in float64, the ladder in float32: within 1e-6 of
    full scale of the same in float64.
    """

    synth_type = "moog"
    parameter_names: tuple[str, ...] = (
        "note_number",
        "note_velocity",
        "log10_decay_time",
        "log10_cutoff",
        "resonance",
        "env_attack",
        "env_decay",
        "env_sustain",
        "env_release",
        "env_octaves",
    )
    level_parameter = "note_velocity"
    batch_size = 2048  # torch would share out a tanh of more among threads of its own

    def check_generating(self) -> None:
        """Refuse ranges beyond which all sounds are alike, so that labels would say nothing.

        (The envelope may reach the highest cutoff: then its octaves are told by when it does.)

        Raises:
            VIMHError: for a cutoff above 0.45 of the sample rate, and for negative times, levels
                and resonances.
        """
        super().check_generating()
        highest = float(np.log10(HIGHEST_CUTOFF * self.sample_rate_hz))
        cutoff = self.parameters["log10_cutoff"]
        if cutoff.max > highest and not cutoff.is_fixed:
            raise VIMHError(
                f"synth.parameters.log10_cutoff.max is {cutoff.max:g}, but all cutoffs above "
                f"{HIGHEST_CUTOFF:g} of the sample rate, {highest:.4f}, sound alike: make it less"
            )
        for name in ("resonance", "env_attack", "env_decay", "env_sustain", "env_release"):
            if self.parameters[name].min < 0:
                raise VIMHError(
                    f"synth.parameters.{name}.min is {self.parameters[name].min:g}; expected 0 or "
                    "more"
                )

    def render(
        self, values: Mapping[str, Float64[np.ndarray, "B"]], num_samples: int | None = None
    ) -> Float32[np.ndarray, "B T"]:
        """Render a batch; see :meth:`Synthesizer.render`."""
        length = self.num_samples if num_samples is None else num_samples
        count = len(values["resonance"])
        filled = fill_lanes(values)
        note_hz = midi_to_hz(filled["note_number"])
        # One waveform for all where the note is the same; elementwise, so the bits are too.
        note_hz = note_hz[:1] if (note_hz == note_hz[:1]).all() else note_hz
        amplitude = filled["note_velocity"] / 127.0
        decay_s = 10.0 ** filled["log10_decay_time"]
        state = torch.zeros(9, len(amplitude))
        block = np.empty((_BLOCK, len(amplitude)), np.float32)
        within_s = np.arange(float(_BLOCK))[:, None] / self.sample_rate_hz
        decay = np.exp(-within_s / decay_s).astype(np.float32)
        audio = np.empty((count, length), np.float32)
        for start in range(0, length, _BLOCK):
            start_s = start / self.sample_rate_hz
            half_steps = _OVERSAMPLING * start + np.arange(float(_OVERSAMPLING * _BLOCK))[:, None]
            saw = sawtooth(note_hz[None], half_steps / (_OVERSAMPLING * self.sample_rate_hz))
            wave = self.shaped(saw.astype(np.float32), filled)
            arrays = (wave, *self._coefficients(filled, start_s + within_s), block)
            _LADDER(state, *map(torch.from_numpy, arrays))
            # exp(-(a + b)) = exp(-a) exp(-b), as in SimpleSawSynth
            block *= decay
            block *= (amplitude * np.exp(-start_s / decay_s)).astype(np.float32)
            here = min(_BLOCK, length - start)
            audio[:, start : start + here] = block[:here, :count].T
        return audio

    def shaped(
        self, saw: Float32[np.ndarray, "T2 #B"], values: Mapping[str, Float64[np.ndarray, "B"]]
    ) -> Float32[np.ndarray, "T2 #B"]:
        """Make the oscillator's wave of a sawtooth at twice the sample rate, which it is here.

        Samples are worked on by themselves.
        """
        return saw

    def _coefficients(
        self, values: Mapping[str, Float64[np.ndarray, "B"]], time_s: Float64[np.ndarray, "T 1"]
    ) -> tuple[Float32[np.ndarray, "#T B"], Float32[np.ndarray, "#T B"]]:
        """Return both coefficients at these times (one row where no envelope moves them)."""
        if not values["env_octaves"].any():
            time_s = time_s[:1]
        g, half_k = np.empty((2, len(time_s), len(values["resonance"])), np.float32)
        for start in range(0, len(time_s), _ROWS):
            rows = slice(start, start + _ROWS)
            g[rows], half_k[rows] = ladder_coefficients(
                self._cutoff_hz(values, time_s[rows]), values["resonance"], self.sample_rate_hz
            )
        return g, half_k

    def _cutoff_hz(
        self, values: Mapping[str, Float64[np.ndarray, "B"]], time_s: Float64[np.ndarray, "T 1"]
    ) -> Float64[np.ndarray, "#T B"]:
        """Return the cutoff at these times."""
        octaves = values["env_octaves"]
        cutoff_hz = 10.0 ** values["log10_cutoff"][None]
        if octaves.any():
            envelope = adsr(
                time_s,
                values["env_attack"],
                values["env_decay"],
                values["env_sustain"],
                values["env_release"],
                NOTE_OFF * self.duration_s,
            )
            cutoff_hz = cutoff_hz * np.exp2(octaves * envelope)
        return np.minimum(cutoff_hz, HIGHEST_CUTOFF * self.sample_rate_hz)


class MoogWaveSynth(MoogSynth):
    """The ladder with a saw or a square in front of it: ``waveform`` is categorical.

    The square is the sign of the saw, with its phase and amplitude: only odd harmonics.
    """

    synth_type = "moog_wave"
    parameter_names = (*MoogSynth.parameter_names, "waveform")

    def __init__(
        self, parameters: Mapping[str, object], *, sample_rate_hz: int, duration_s: float
    ) -> None:
        super().__init__(parameters, sample_rate_hz=sample_rate_hz, duration_s=duration_s)
        if self.parameters["waveform"].class_names != WAVEFORMS:
            raise VIMHError(
                f"synth.parameters.waveform has the classes "
                f"{list(self.parameters['waveform'].class_names)}; expected kind: categorical and "
                f"class_names: {list(WAVEFORMS)}"
            )

    def shaped(
        self, saw: Float32[np.ndarray, "T2 #B"], values: Mapping[str, Float64[np.ndarray, "B"]]
    ) -> Float32[np.ndarray, "T2 B"]:
        """Leave the saw, or take its sign; see :meth:`MoogSynth.shaped`."""
        square = np.where(saw < 0, np.float32(-1.0), np.float32(1.0))
        return np.where(values["waveform"] == WAVEFORMS.index("square"), square, saw)

"""A thin rectangular plate under tension, struck by an impulse: a sum of damped modes."""

from collections.abc import Mapping
from typing import Annotated, NamedTuple

import numpy as np
import torch
from annotated_types import Interval
from jaxtyping import Complex128, Float32, Float64, Inexact

from src.synth.errors import RecipeError
from src.synth.synthesizers import Synthesizer

_BLOCK, _BLOCKS = 64, 32  # samples of a block, and blocks that are multiplied at a time
_MODES = 256  # that are multiplied at a time: their phasors stay in the cache
_MOST_MODES = 2.0e6  # some gigabytes

_Length = Annotated[float, Interval(gt=0, le=1e6)]
_Share = Annotated[float, Interval(gt=0, lt=1)]
_Time = Annotated[float, Interval(gt=0, le=3600)]


class Modes(NamedTuple):
    """The modes of one plate, by rising frequency; see :class:`PlateSynth`."""

    amplitude: Float64[np.ndarray, "K"]  # m
    decay: Float64[np.ndarray, "K"]  # σk, nepers a sample
    angle: Float64[np.ndarray, "K"]  # Ωk, radians a sample


class PlateSynth(Synthesizer):
    r"""The displacement of a simply supported plate at a point, after an impulse at another.

    A plate of thickness h, density ρ, Young's modulus E and Poisson's ratio ν is stretched by
    T0 newtons a metre. With μ = ρh and D = Eh³/(12(1 − ν²)) its displacement w obeys

    .. math::
        \mu \ddot w = T_0 \nabla^2 w - D \nabla^4 w + f(t)\,\delta(x - x_i)\,\delta(y - y_i)

    and a loss (S. Bilbao, "Numerical Sound Synthesis", Wiley 2009, chapters 11 and 12; N. Fletcher
    and T. Rossing, "The Physics of Musical Instruments", 1998, chapter 3).

    **Modes.** Where the edges can turn but not move, Φ = sin(mπx/Lx) sin(nπy/Ly) for m, n = 1, 2, …
    fulfils the boundary conditions, and ∇²Φ = −γ²Φ with γ² = (mπ/Lx)² + (nπ/Ly)². Φ² integrated
    over the plate is LxLy/4, so that the equation times Φ, integrated, leaves one oscillator of
    each mode in w = Σ q Φ:

    .. math::
        \ddot q + 2\sigma\dot q + \Omega^2 q = \frac{4}{L_x L_y \mu}\,\Phi(x_i, y_i)\,f, \quad
        \Omega^2 = \frac{T_0}{\mu}\gamma^2 + \frac{D}{\mu}\gamma^4

    **Loss.** σ = α + βΩ². An amplitude falls by 60 dB in T60 = 3 ln 10/σ seconds; α follows from
    T60 at 0 Hz and β from T60 at another frequency.

    **Time.** Samples are k = 1/rate apart. Each oscillator is the difference equation whose free
    solutions are ``exp(−σnk) cos(Ωnk)`` and ``exp(−σnk) sin(Ωnk)`` (Bilbao, chapter 3), driven by
    k² of the force:

    .. math::
        q_{n+1} = 2 e^{-\sigma k} \cos(\Omega k)\,q_n - e^{-2\sigma k} q_{n-1}
            + k^2 e^{-\sigma k} \frac{4}{L_x L_y \mu} \Phi(x_i, y_i) f_n

    A force in sample 0 alone gives q_n = (4/(LxLyμ)) Φ f_0 k² exp(−σnk) sin(Ωnk)/sin(Ωk), which
    for small k is the textbook's impulse of f_0·k newton seconds. Two things are not the
    textbook's. The damped oscillator's frequency is √(Ω² − σ²), here Ω: they differ by 0.01 % at
    10 kHz and less below. And k/sin(Ωk) stands for 1/Ω, which is 3 % more at 3 kHz and 40 % at
    10 kHz.

    **Force.** f_0 = 4/(LxLy) newtons, so that the sound is

    .. math::
        w_n = \left(\frac{4}{L_x L_y}\right)^2 \frac{k^2}{\mu} \sum_{\Omega \le \Omega_{max}}
            \Phi(x_i, y_i)\,\Phi(x_o, y_o)\,e^{-\sigma n k}\,\frac{\sin \Omega n k}{\sin \Omega k}

    The force, Ω in place of √(Ω² − σ²) and the difference equation are how the plates of the 1st
    DAFx Parameter Estimation Challenge (2026, task A) sound; they were found from eight of them.

    The parameters are what a sound determines: `area_density` μ (kg/m²), `stiffness` D/μ (m⁴/s²),
    `tension` T0/μ (m²/s²), `length_y` Ly (m), and the output's place `output_x` and `output_y` as
    shares of Lx and Ly. Frequencies depend on neither μ nor the place, and μ does nothing but
    divide the sound. Drawn are h, T0, ρ and E in their place.

    **Computing.** With p = exp((iΩ − σ)k), sample aM + b of a mode is Im(p^(aM) · p^b): a product
    of two matrices over all modes, whose powers come from repeated squaring. A mode is left out of
    the blocks in which it has fallen below the rounding errors.

    Args:
        parameters: as in :class:`~src.synth.synthesizers.Synthesizer`.
        sample_rate_hz: samples a second.
        duration_s: length of a sound.
        draws: as in :class:`~src.synth.synthesizers.Synthesizer`.
        highest_hz: the highest mode's Ω/2π, below Nyquist.
        length_x: Lx in m.
        poisson_ratio: ν, with which D follows from the draws.
        input_x: where the plate is struck, as a share of Lx.
        input_y: the same as a share of Ly.
        t60_dc_s: time in which a mode at 0 Hz would fall by 60 dB.
        t60_s: the same at `t60_hz`, no longer.
        t60_hz: a frequency.

    Raises:
        RecipeError: for modes at Nyquist or above, a loss that falls with frequency, or ranges
            with more than two million modes.
    """

    synth_type = "plate"
    parameter_names = (
        "area_density", "stiffness", "tension", "length_y", "output_x", "output_y"
    )  # fmt: skip
    draw_names = (
        "length_y", "thickness", "edge_tension", "density", "youngs_modulus", "output_x", "output_y"
    )  # fmt: skip
    level_parameter = "area_density"
    level_power = -1
    is_exact = True

    def __init__(
        self,
        parameters: Mapping[str, object],
        *,
        sample_rate_hz: int,
        duration_s: float,
        draws: Mapping[str, object] | None = None,
        highest_hz: _Length = 10000.0,
        length_x: _Length = 1.0,
        poisson_ratio: Annotated[float, Interval(ge=0, le=0.5)] = 0.25,
        input_x: _Share = 0.335,
        input_y: _Share = 0.467,
        t60_dc_s: _Time = 6.0,
        t60_s: _Time = 2.0,
        t60_hz: _Length = 500.0,
    ) -> None:
        super().__init__(
            parameters, sample_rate_hz=sample_rate_hz, duration_s=duration_s, draws=draws
        )
        if highest_hz >= sample_rate_hz / 2:
            raise RecipeError(
                f"synth.highest_hz is {highest_hz:g}; expected less than half the sample rate, "
                f"{sample_rate_hz / 2:g} Hz"
            )
        if t60_s > t60_dc_s:
            raise RecipeError(
                f"synth.t60_s is {t60_s:g}; expected at most synth.t60_dc_s, {t60_dc_s:g}: the "
                "loss does not fall with frequency"
            )
        self.poisson_ratio = poisson_ratio
        self.length_x = length_x
        self.input_x, self.input_y = input_x, input_y
        self._highest = 2.0 * np.pi * highest_hz
        self._alpha = 3.0 * np.log(10.0) / t60_dc_s
        self._beta = (3.0 * np.log(10.0) / t60_s - self._alpha) / (2.0 * np.pi * t60_hz) ** 2
        self._check_ranges()

    def _check_ranges(self) -> None:
        """Refuse values that no plate has, and plates of too many modes."""
        for name in ("area_density", "stiffness", "length_y"):
            if self.parameters[name].min <= 0:
                raise RecipeError(
                    f"synth.parameters.{name}.min is {self.parameters[name].min:g}; expected more "
                    "than 0"
                )
        if self.parameters["tension"].min < 0:
            raise RecipeError(
                f"synth.parameters.tension.min is {self.parameters['tension'].min:g}; expected 0 "
                "or more"
            )
        # The largest and softest plate has the most modes: a quarter of an ellipse of m and n.
        stiffness, tension = (self.parameters[name].min for name in ("stiffness", "tension"))
        area = self.length_x * self.parameters["length_y"].max
        modes = area / (4.0 * np.pi) * self._highest_square(stiffness, tension, self._highest)
        if modes > _MOST_MODES:
            raise RecipeError(
                f"synth.parameters: a plate of stiffness {stiffness:g} and length_y "
                f"{self.parameters['length_y'].max:g} has {modes:.3g} modes up to "
                f"{self._highest / (2.0 * np.pi):g} Hz, expected at most {_MOST_MODES:.3g}: take a "
                "larger stiffness.min or a lower synth.highest_hz"
            )

    def _highest_square(self, stiffness: float, tension: float, highest: float) -> float:
        """Return γ² of a mode at a frequency in radians a second: its equation's positive root."""
        top = highest**2
        return 2.0 * top / (tension + float(np.sqrt(tension**2 + 4.0 * stiffness * top)))

    def derive(
        self, draws: Mapping[str, Float64[np.ndarray, "B"]]
    ) -> Mapping[str, Float64[np.ndarray, "B"]]:
        """Return μ = ρh, D/μ and T0/μ of plates; see :meth:`Synthesizer.derive`."""
        thickness, density = draws["thickness"], draws["density"]
        per_thickness = 12.0 * (1.0 - self.poisson_ratio**2)
        return {
            "area_density": density * thickness,
            "stiffness": draws["youngs_modulus"] * thickness**2 / (per_thickness * density),
            "tension": draws["edge_tension"] / (density * thickness),
            **{name: draws[name] for name in ("length_y", "output_x", "output_y")},
        }

    def render(
        self, values: Mapping[str, Float64[np.ndarray, "B"]], num_samples: int | None = None
    ) -> Float32[np.ndarray, "B T"]:
        """Render a batch; see :meth:`Synthesizer.render`.

        The relative error is below 1e-6.
        """
        audio = np.empty((len(values["stiffness"]), self._length(num_samples)), np.float32)
        return self._fill(audio, values, np.complex64)

    def render_float64(
        self,
        values: Mapping[str, Float64[np.ndarray, "B"]],
        num_samples: int | None = None,
        below_hz: float | None = None,
    ) -> Float64[np.ndarray, "B T"]:
        """Render a batch in double precision, with a relative error below 1e-9.

        Args:
            values: as in :meth:`Synthesizer.render`.
            num_samples: T; None: the whole sound.
            below_hz: modes above it are left out; None: none but those above `highest_hz`.
        """
        audio = np.empty((len(values["stiffness"]), self._length(num_samples)))
        return self._fill(audio, values, np.complex128, below_hz)

    def _length(self, num_samples: int | None) -> int:
        return self.num_samples if num_samples is None else num_samples

    def _fill(
        self,
        audio: Inexact[np.ndarray, "B T"],
        values: Mapping[str, Float64[np.ndarray, "B"]],
        dtype: type[np.complexfloating],
        below_hz: float | None = None,
    ) -> Inexact[np.ndarray, "B T"]:
        """Write each plate's sound. One by one: plates have from 200 to 50,000 modes."""
        for row in range(len(audio)):
            plate = {name: float(column[row]) for name, column in values.items()}
            modes = self.modes(plate, below_hz)
            audio[row] = _summed(modes, audio.shape[1], dtype)
        return audio

    def modes(self, plate: Mapping[str, float], below_hz: float | None = None) -> Modes:
        """Return the modes of one plate.

        Args:
            plate: the value of every parameter.
            below_hz: the highest mode's frequency, where that is less than `highest_hz`.
        """
        step, length_y = 1.0 / self.sample_rate_hz, plate["length_y"]
        highest = self._highest
        if below_hz is not None:
            highest = min(highest, 2.0 * np.pi * below_hz)
        gamma_square = self._highest_square(plate["stiffness"], plate["tension"], highest)
        gamma = np.sqrt(gamma_square) / np.pi
        m = np.arange(1.0, np.floor(gamma * self.length_x) + 2.0)
        n = np.arange(1.0, np.floor(gamma * length_y) + 2.0)
        square = (np.pi / self.length_x * m)[:, None] ** 2 + (np.pi / length_y * n) ** 2
        omega_square = square * (plate["tension"] + plate["stiffness"] * square)
        along_x = np.sin(np.pi * self.input_x * m) * np.sin(np.pi * plate["output_x"] * m)
        along_y = np.sin(np.pi * self.input_y * n) * np.sin(np.pi * plate["output_y"] * n)
        shape = along_x[:, None] * along_y
        heard = omega_square <= highest**2
        omega_square, shape = omega_square[heard], shape[heard]
        order = np.argsort(omega_square, kind="stable")
        omega_square, shape = omega_square[order], shape[order]
        angle = np.sqrt(omega_square) * step
        force = (4.0 / (self.length_x * length_y)) ** 2 * step**2 / plate["area_density"]
        decay = (self._alpha + self._beta * omega_square) * step
        return Modes(force * shape / np.sin(angle), decay, angle)


def _summed(modes: Modes, length: int, dtype: type[np.complexfloating]) -> Inexact[np.ndarray, "T"]:
    """Return ``Σ amplitude · exp(−decay·n) · sin(angle·n)``, real, of half the bytes of `dtype`.

    The products always have the same sizes, so that a shorter sound has the same bits.
    """
    precision = np.finfo(dtype)
    tiles = -(-length // (_BLOCK * _BLOCKS))
    sound = np.zeros((tiles, _BLOCKS, _BLOCK), precision.dtype)
    if len(modes.amplitude) == 0:
        return sound.reshape(-1)[:length]
    # Near 1, since float32 ends at 1e-38, and a displacement is 1e-11 m.
    peak = np.abs(modes.amplitude).max()
    missing = -len(modes.amplitude) % _MODES
    amplitude = np.pad(modes.amplitude / (peak or 1.0), (0, missing))
    decay, angle = (np.pad(column, (0, missing), "edge") for column in modes[1:])
    pole = np.exp(1j * angle - decay)
    lives = -np.log(precision.eps) / (decay * _BLOCK * _BLOCKS)  # tiles; falls with frequency
    within, starts = np.empty((_BLOCK, _MODES), dtype), np.empty((_BLOCKS, _MODES), dtype)
    # Im(s·p) = Re(i s̄ · p̄) is a product of the complex numbers' real and imaginary parts in turn.
    factors = [torch.from_numpy(phasors.view(precision.dtype)) for phasors in (starts, within)]
    products = torch.from_numpy(sound)
    for first in range(0, len(pole), _MODES):
        chunk = slice(first, first + _MODES)
        block = _powers(within, np.ones(_MODES, complex), pole[chunk]).conj()
        start = 1j * amplitude[chunk]
        for tile in range(min(tiles, int(lives[first]) + 1)):
            start = start * _powers(starts, start, block)
            products[tile].addmm_(factors[0], factors[1].T)
    sound *= precision.dtype.type(peak)
    return sound.reshape(-1)[:length]


def _powers(
    out: Inexact[np.ndarray, "N K"],
    first: Complex128[np.ndarray, "K"],
    factor: Complex128[np.ndarray, "K"],
) -> Complex128[np.ndarray, "K"]:
    """Write ``first · factor^n`` in row n of a power of two, by doubling; return ``factor^N``."""
    out[0], done = first, 1
    while done < len(out):
        np.multiply(out[:done], factor.astype(out.dtype), out=out[done : 2 * done])
        factor, done = factor * factor, 2 * done
    return factor

"""Gradient norms, their spread, and the real signal-to-noise ratio of the gradient over steps.

docs/gradient_tracking.md says what each number means and what it costs.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
from annotated_types import Interval
from jaxtyping import Float, Float32
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.strategies import FSDPStrategy
from torch import Tensor

from src.loggers.event_files import sorted_tag
from src.schema.arguments import check_arguments
from src.schema.bounds import PositiveCount
from src.utils.errors import CheckpointError, ConfigError
from src.utils.pylogger import RankedLogger

log = RankedLogger(__name__, rank_zero_only=True)

PREFIX = "grad_stats"
FEW = ("norm_mean", "norm_max", "epoch_stability")
_NUM_BINS = 64
_MAX_HISTOGRAM_VALUES = 4096
# Sums are float32: variances below this share of the mean square are rounding.
_RESOLUTION = 1e-6


@dataclass
class _Window:
    """Sums over the steps of one window, on the device, for each parameter tensor.

    Every value has a sum and a sum of squares: two passes over the gradients, which cost less than
    their norms.
    """

    sums: list[Tensor]
    squares: list[Tensor]
    num_steps: int = 0

    @classmethod
    def start(cls, parameters: Sequence[Tensor]) -> "_Window":
        zeros = [torch.zeros_like(p, dtype=torch.float32) for p in parameters]
        return cls(zeros, [zero.clone() for zero in zeros])

    def fits(self, other: object) -> bool:
        """Whether a checkpoint's sums are of the same parameters."""
        if not isinstance(other, dict) or other.keys() != vars(self).keys():
            return False
        pairs = [(self.sums, other["sums"]), (self.squares, other["squares"])]
        return type(other["num_steps"]) is int and all(
            isinstance(found, list)
            and all(isinstance(t, Tensor) for t in found)
            and [t.shape for t in found] == [t.shape for t in own]
            for own, found in pairs
        )

    def fill(self, sums: list[Tensor], squares: list[Tensor], num_steps: int) -> None:
        torch._foreach_copy_(self.sums, sums)
        torch._foreach_copy_(self.squares, squares)
        self.num_steps = num_steps

    def add(self, gradients: Sequence[Tensor | None]) -> None:
        """Add one step's gradients; a missing one (of a frozen layer) counts as 0."""
        sums, squares = self.sums, self.squares
        present = [g for g in gradients if g is not None]
        if len(present) < len(gradients):
            sums, squares = (
                [t for t, g in zip(tensors, gradients, strict=True) if g is not None]
                for tensors in (sums, squares)
            )
        if present:
            torch._foreach_add_(sums, present)
            torch._foreach_addcmul_(squares, present, present)
        self.num_steps += 1

    def clear(self) -> None:
        torch._foreach_zero_(self.sums)
        torch._foreach_zero_(self.squares)
        self.num_steps = 0


@dataclass
class _Layers:
    """The trained parameters, and the indices of those of each layer."""

    parameters: list[Tensor] = field(default_factory=list)
    indices: dict[str, list[int]] = field(default_factory=dict)


class GradientStats(Callback):
    """Log statistics of the gradients, every ``log_every_n_steps`` optimiser steps.

    The gradients are those that the optimiser is about to use: after accumulation, averaging over
    processes and unscaling, before clipping. Other steps only add them up on the device; a logging
    step takes one transfer to the host.

    Args:
        log_every_n_steps: The interval in optimiser steps; None: ``trainer.log_every_n_steps``.
        layer_depth: How many parts of a parameter's name make a layer: 1 takes
            ``net.blocks.0.norm.weight`` to ``blocks``, 2 to ``blocks.0``.
        snr_min_steps: The fewest steps for an estimate of the signal-to-noise ratio, at least 2;
            where the interval is shorter, the ratio is logged less often than the rest.
        few: Whether only the mean and the largest norm and the stability over an epoch are logged,
            and no histogram.
        histogram: Whether a histogram of all gradient values goes to TensorBoard.
        histogram_every_n_logs: Logging steps from one histogram to the next; the first has one.

    Raises:
        ConfigError: If an argument is out of range.
    """

    def __init__(
        self,
        log_every_n_steps: PositiveCount | None = None,
        layer_depth: PositiveCount = 1,
        snr_min_steps: Annotated[int, Interval(ge=2, le=2**31 - 1)] = 2,
        few: bool = False,
        histogram: bool = True,
        histogram_every_n_logs: PositiveCount = 10,
    ) -> None:
        super().__init__()
        self.log_every_n_steps = log_every_n_steps
        self.layer_depth = layer_depth
        self.snr_min_steps = snr_min_steps
        self.few = few
        self.histogram = histogram and not few
        self.histogram_every_n_logs = histogram_every_n_logs
        check_arguments(GradientStats, vars(self), "callbacks.gradient_stats")
        self.latest: dict[str, float] = {}  # the latest logged figures, without the prefix
        self._interval = 0
        self._layers = _Layers()
        self._window: _Window | None = None
        self._epoch_means: list[float] = []
        self._restored: dict[str, Any] = {}

    def state_dict(self) -> dict[str, object]:
        """Return the sums since the last logging step, so that a resumed run logs the same."""
        if self._window is None:
            return {}
        return {"sums": dict(vars(self._window)), "epoch_means": list(self._epoch_means)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the sums of :meth:`state_dict` until training goes on."""
        self._restored = state_dict

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Find the parameters and their layers."""
        own: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
        self._interval = self.log_every_n_steps or own
        self._window = None
        self._epoch_means = []
        # The gradients are the same in every process; the first process logs them.
        if not trainer.loggers or not trainer.is_global_zero or self._interval < 1:
            return
        if isinstance(trainer.strategy, FSDPStrategy):
            log.warning("Gradient statistics are off: under FSDP no process has a whole gradient.")
            return
        self._layers = _find_layers(pl_module, self.layer_depth)
        self._window = _Window.start(self._layers.parameters)
        # Earlier versions kept other sums, under another name: start again after those.
        if "sums" in self._restored:
            sums, means = self._restored["sums"], self._restored.get("epoch_means")
            known = isinstance(means, list) and all(type(mean) is float for mean in means)
            if means is None or not known or not self._window.fits(sums):
                raise CheckpointError(
                    f"{trainer.ckpt_path}: callbacks.GradientStats has no sums of this model's "
                    "gradients"
                )
            self._window.fill(**sums)
            self._epoch_means = list(means)
        self._restored = {}

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Add this step's gradients to the sums, and log on a logging step."""
        if self._window is None:
            return
        gradients = [p.grad for p in self._layers.parameters]
        self._window.add(gradients)
        # These are the steps and the step numbers of Lightning's own scalars.
        step = trainer.global_step
        if (step + 1) % self._interval == 0:
            self._log(trainer, gradients, step)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log mean, deviation and stability over two or more logged steps of the epoch."""
        means, self._epoch_means = self._epoch_means, []
        if len(means) < 2:
            return
        mean, std = _mean_and_std(means)
        stats = {"epoch_mean": mean, "epoch_std": std}
        if mean > 0:
            stats["epoch_stability"] = std / mean
        self._publish(trainer, stats, trainer.global_step - 1)

    def _log(self, trainer: Trainer, gradients: Sequence[Tensor | None], step: int) -> None:
        window = self._window
        assert window is not None
        present = [g for g in gradients if g is not None]
        if not present:
            return
        with_snr = window.num_steps >= self.snr_min_steps
        with_histogram = self._has_histogram(trainer, step)
        on_device = torch._foreach_norm(present, 2, dtype=torch.float32)
        if with_snr:
            # No square is negative, so their sum is the 1-norm.
            on_device += torch._foreach_norm(window.squares, 1) + torch._foreach_norm(window.sums)
        values = torch.stack(on_device)
        if with_histogram:
            values = torch.cat([values, sampled_values(present)])
        host = values.cpu().numpy()  # the one transfer
        norms, host = np.split(host, [len(present)])
        found = iter(norms.tolist())
        by_parameter = [None if gradient is None else next(found) for gradient in gradients]
        stats = _norm_stats(by_parameter, self._layers)
        if with_snr:
            num = len(gradients)
            squares, norms_of_sums, host = np.split(host, [num, 2 * num])
            stats |= _snr_stats(
                squares.tolist(), norms_of_sums.tolist(), window.num_steps, self._layers
            )
            window.clear()
        self._epoch_means.append(stats["norm_mean"])
        self._publish(trainer, stats, step)
        if with_histogram:
            _write_histogram(trainer, Histogram.of(host), step)

    def _has_histogram(self, trainer: Trainer, step: int) -> bool:
        nth = (step + 1) // self._interval - 1
        return (
            self.histogram
            and nth % self.histogram_every_n_logs == 0
            and any(isinstance(logger, TensorBoardLogger) for logger in trainer.loggers)
        )

    def _publish(self, trainer: Trainer, stats: dict[str, float], step: int) -> None:
        # Each metric given to Lightning's self.log() would cost time on every later step.
        self.latest |= stats
        if self.few:
            stats = {name: value for name, value in stats.items() if name in FEW}
        for logger in trainer.loggers:
            logger.log_metrics({f"{PREFIX}/{name}": v for name, v in stats.items()}, step=step)


def gradient_snr(
    sum_of_squares: float, square_of_sum: float, num_steps: int
) -> tuple[float, float, float]:
    """Estimate the signal-to-noise ratio of a gradient over steps, from two sums.

    With gᵢ the gradient of step i (a vector), n steps, ḡ their mean and
    V = Σᵢ|gᵢ − ḡ|²/(n−1) the total variance, E|ḡ|² = |E g|² + V/n; so |ḡ|² − V/n estimates the
    signal's power without bias (McCandlish et al. 2018, "An Empirical Model of Large-Batch
    Training", arXiv:1812.06162, appendix A.1), and ::

        SNR = max(0, |ḡ|² − V/n) / V

    V is at least 1e-6 of the mean of |gᵢ|², the resolution of float32 sums, so the ratio is at most
    about 1e6.

    The sums are Σᵢ|gᵢ|² and |Σᵢgᵢ|², and n is at least 2.

    Returns:
        ``(SNR, max(0, |ḡ|² − V/n), V)``; all 0 where every gradient is 0.

    Example:
        Two steps with the gradients 1 and 3: the mean is 2, V = 2, and (4 − 2/2)/2 = 1.5.

        >>> gradient_snr(sum_of_squares=10.0, square_of_sum=16.0, num_steps=2)
        (1.5, 3.0, 2.0)
    """
    if sum_of_squares == 0.0:
        return 0.0, 0.0, 0.0
    mean_square = square_of_sum / num_steps**2
    variance = (sum_of_squares - num_steps * mean_square) / (num_steps - 1)
    variance = max(variance, _RESOLUTION * sum_of_squares / num_steps)
    signal = max(0.0, mean_square - variance / num_steps)
    return signal / variance, signal, variance


def _find_layers(module: LightningModule, depth: int) -> _Layers:
    layers = _Layers()
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            # The module keeps its network as "net."; torch.compile adds "_orig_mod.".
            parts = name.replace("_orig_mod.", "").removeprefix("net.").split(".")
            layer = ".".join(parts[: min(depth, max(len(parts) - 1, 1))])
            layers.indices.setdefault(layer, []).append(len(layers.parameters))
            layers.parameters.append(parameter)
    if not layers.parameters:
        raise ConfigError("gradient_stats: the model has no parameter that is trained")
    return layers


def _norm_stats(norms: Sequence[float | None], layers: _Layers) -> dict[str, float]:
    """Return the figures of the parameters' norms, which are None where there is no gradient."""
    present = [norm for norm in norms if norm is not None]
    mean, std = _mean_and_std(present)
    stats = {
        "norm_mean": mean,
        "norm_std": std,
        "norm_max": max(present),
        "norm_min": min(present),
        "variance": std**2,
    }
    if std > 0:
        stats["signal_noise_ratio"] = mean / std
    for layer, indices in layers.indices.items():
        there = [norm for i in indices if (norm := norms[i]) is not None]
        if there:
            stats[f"layer_{layer}_mean"] = math.fsum(there) / len(there)
    return stats


def _snr_stats(
    squares: Sequence[float], norms_of_sums: Sequence[float], num_steps: int, layers: _Layers
) -> dict[str, float]:
    return {
        f"snr_{layer}": gradient_snr(
            math.fsum(squares[i] for i in indices),
            math.fsum(norms_of_sums[i] ** 2 for i in indices),
            num_steps,
        )[0]
        for layer, indices in layers.indices.items()
    }


def _mean_and_std(values: Sequence[float]) -> tuple[float, float]:
    """Compute mean and population deviation; the deviation of one value is 0."""
    mean = math.fsum(values) / len(values)
    return mean, math.sqrt(math.fsum((v - mean) ** 2 for v in values) / len(values))


def sampled_values(gradients: Sequence[Tensor]) -> Float[Tensor, " N"]:
    """Return all values of the gradients; of too many, every k-th of each tensor."""
    stride = math.ceil(sum(g.numel() for g in gradients) / _MAX_HISTOGRAM_VALUES)
    return torch.cat([g.detach().flatten()[::stride] for g in gradients]).float()


class Histogram(NamedTuple):
    """Counts of finite values in equal bins of -limit...limit, their sum and sum of squares."""

    counts: list[int]
    limit: float
    total: float
    squares: float

    @classmethod
    def of(cls, values: Float32[np.ndarray, " N"]) -> "Histogram":
        """Count values; infinite ones and NaN do not count."""
        values = values[np.isfinite(values)].astype(np.float64)
        limit = max(np.abs(values).max(initial=0.0), float(np.finfo(np.float32).tiny))
        bins = ((values / limit + 1) * (_NUM_BINS / 2)).astype(np.int64)
        counts = np.bincount(bins.clip(max=_NUM_BINS - 1), minlength=_NUM_BINS)
        return cls(counts.tolist(), limit, values.sum(), values @ values)


def _write_histogram(trainer: Trainer, histogram: Histogram, step: int) -> None:
    limit, width = histogram.limit, 2 * histogram.limit / _NUM_BINS
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_histogram_raw(
                sorted_tag(f"{PREFIX}/histogram"),
                min=-limit,
                max=limit,
                num=sum(histogram.counts),
                sum=histogram.total,
                sum_squares=histogram.squares,
                bucket_limits=[-limit + width * (i + 1) for i in range(_NUM_BINS)],
                bucket_counts=histogram.counts,
                global_step=step,
            )

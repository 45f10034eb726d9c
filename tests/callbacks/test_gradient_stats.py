import math
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from src.callbacks.gradient_stats import GradientStats, Histogram, gradient_snr, sampled_values
from src.utils.errors import ConfigError
from tests.callbacks.fakes import Remembers, SmallModule, loader, trainer


class RecordGradients(Callback):
    """The gradients of every optimiser step, for reference values."""

    def __init__(self) -> None:
        self.steps: list[dict[str, np.ndarray]] = []

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        self.steps.append(
            {n: p.grad.double().numpy().copy() for n, p in pl_module.named_parameters()}
        )


def fit(tmp_path: Any, stats: GradientStats, **kwargs: Any) -> tuple[dict, RecordGradients]:
    logger, record = Remembers(), RecordGradients()
    fitting = trainer(
        tmp_path, callbacks=[record, stats], logger=logger, enable_progress_bar=False, **kwargs
    )
    fitting.fit(SmallModule(), loader(), loader(1))
    return logger.gradient_stats(), record


def test_norms_equal_numpy(tmp_path: Any) -> None:
    found, record = fit(tmp_path, GradientStats())
    assert sorted(found) == [1, 3, 5, 7, 9, 11]  # every second of 12 steps
    for step, stats in found.items():
        norms = {n: np.linalg.norm(g) for n, g in record.steps[step].items()}
        values = list(norms.values())
        expected = {
            "norm_mean": np.mean(values),
            "norm_std": np.std(values),
            "norm_max": np.max(values),
            "norm_min": np.min(values),
            "variance": np.var(values),
            "signal_noise_ratio": np.mean(values) / np.std(values),
        }
        for layer in ("body", "heads"):
            in_layer = [norm for n, norm in norms.items() if n.startswith(f"net.{layer}.")]
            expected[f"layer_{layer}_mean"] = np.mean(in_layer)
        assert {k: stats[k] for k in expected} == pytest.approx(expected, rel=1e-5)


def test_snr_equals_numpy_over_the_steps_since_the_last_logging(tmp_path: Any) -> None:
    found, record = fit(tmp_path, GradientStats(log_every_n_steps=4))
    assert sorted(step for step, stats in found.items() if "snr_body" in stats) == [3, 7, 11]
    for step in (3, 7, 11):
        for layer in ("body", "heads"):
            g = np.stack(
                [
                    np.concatenate([v.ravel() for n, v in grads.items() if f".{layer}." in n])
                    for grads in record.steps[step - 3 : step + 1]
                ]
            )
            variance = np.var(g, axis=0, ddof=1).sum()
            signal = max(0.0, (g.mean(axis=0) ** 2).sum() - variance / len(g))
            assert found[step][f"snr_{layer}"] == pytest.approx(signal / variance, rel=1e-4)


def test_snr_waits_for_two_steps(tmp_path: Any) -> None:
    found, _ = fit(tmp_path, GradientStats(log_every_n_steps=1))
    with_snr = [step for step, stats in found.items() if "snr_body" in stats]
    assert sorted(found) == list(range(12))
    assert with_snr == [1, 3, 5, 7, 9, 11]


def test_epoch_figures(tmp_path: Any) -> None:
    found, _ = fit(tmp_path, GradientStats())
    for last, logged in ((5, (1, 3, 5)), (11, (7, 9, 11))):
        means = [found[step]["norm_mean"] for step in logged]
        assert found[last]["epoch_mean"] == pytest.approx(np.mean(means))
        assert found[last]["epoch_std"] == pytest.approx(np.std(means))
        assert found[last]["epoch_stability"] == pytest.approx(np.std(means) / np.mean(means))


def test_epoch_figures_are_left_out_below_two_logged_steps(tmp_path: Any) -> None:
    found, _ = fit(tmp_path, GradientStats(log_every_n_steps=6))
    assert sorted(found) == [5, 11]
    assert not any("epoch_mean" in stats for stats in found.values())


def test_accumulated_gradients_count_as_one_step(tmp_path: Any) -> None:
    found, record = fit(tmp_path, GradientStats(), accumulate_grad_batches=2)
    assert len(record.steps) == 6
    assert sorted(found) == [1, 3, 5]
    norms = [np.linalg.norm(g) for g in record.steps[3].values()]
    assert found[3]["norm_mean"] == pytest.approx(np.mean(norms), rel=1e-5)


def test_gradients_are_those_before_clipping(tmp_path: Any) -> None:
    found, _ = fit(tmp_path, GradientStats(), gradient_clip_val=1e-6)
    assert found[1]["norm_max"] > 1e-3


def test_layer_depth(tmp_path: Any) -> None:
    found, _ = fit(tmp_path, GradientStats(layer_depth=2))
    layers = {k for k in found[1] if k.startswith("layer_")}
    assert layers == {"layer_body_mean", "layer_heads.level_mean", "layer_heads.decay_mean"}


def test_a_parameter_without_gradient_is_left_out(tmp_path: Any) -> None:
    class OneHeadUnused(SmallModule):
        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            return nn.functional.cross_entropy(self.net(batch[0])["level"], batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.0)

    logger, steps = Remembers(), []

    class Record(Callback):
        def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
            grads = {n: p.grad for n, p in pl_module.named_parameters()}
            steps.append({n: None if g is None else g.clone() for n, g in grads.items()})

    fitting = trainer(
        tmp_path,
        callbacks=[Record(), GradientStats(layer_depth=2)],
        logger=logger,
        enable_progress_bar=False,
    )
    fitting.fit(OneHeadUnused(), loader(), loader(1))
    found = logger.gradient_stats()[3]
    norms = [g.norm().item() for g in steps[3].values() if g is not None]
    assert len(norms) == 4  # of six parameters
    assert found["norm_min"] == pytest.approx(min(norms))
    assert found["norm_mean"] == pytest.approx(np.mean(norms))
    assert "layer_heads.decay_mean" not in found
    assert found["snr_heads.decay"] == 0.0
    both = [
        torch.cat([steps[i]["net.heads.level.weight"].flatten(), steps[i]["net.heads.level.bias"]])
        for i in (2, 3)
    ]
    variance = ((both[0] - both[1]) ** 2).sum().item() / 2
    signal = max(0.0, ((both[0] + both[1]) / 2).square().sum().item() - variance / 2)
    assert found["snr_heads.level"] == pytest.approx(signal / variance, rel=1e-4)


class HostTransfers(TorchDispatchMode):
    """Counts what takes a number from the device: on CUDA each would wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        copies = func.name() == "aten::_to_copy" and "device" in (kwargs or {})
        self.count += copies or func.name() in ("aten::_local_scalar_dense", "aten::nonzero")
        return func(*args, **(kwargs or {}))


def test_one_transfer_a_logging_step_and_none_on_others(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies: list[int] = []
    cpu = torch.Tensor.cpu  # does not dispatch on the CPU
    monkeypatch.setattr(torch.Tensor, "cpu", lambda self: copies.append(1) or cpu(self))
    counts = []

    class Counted(GradientStats):
        def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
            copies.clear()
            with HostTransfers() as others:
                super().on_before_optimizer_step(trainer, pl_module, optimizer)
            counts.append((len(copies), others.count))

    tensorboard = TensorBoardLogger(tmp_path, name=None, version="")
    fit(tmp_path, Counted(), max_epochs=1)
    with_histogram = Counted(histogram_every_n_logs=1)
    fitting = trainer(
        tmp_path,
        callbacks=[with_histogram],
        logger=tensorboard,
        enable_progress_bar=False,
        max_epochs=1,
    )
    fitting.fit(SmallModule(), loader(), loader(1))
    assert counts == [(0, 0), (1, 0)] * 6  # without a histogram and with one


@pytest.mark.parametrize(("every", "steps"), [(1, [1, 3, 5, 7, 9, 11]), (2, [1, 5, 9])])
def test_histogram_counts_every_value(tmp_path: Any, every: int, steps: list[int]) -> None:
    logger = TensorBoardLogger(tmp_path, name=None, version="")
    fitting = trainer(
        tmp_path,
        callbacks=[GradientStats(histogram_every_n_logs=every)],
        logger=logger,
        enable_progress_bar=False,
    )
    module = SmallModule()
    fitting.fit(module, loader(), loader(1))
    events = EventAccumulator(str(tmp_path), size_guidance={"histograms": 0})
    events.Reload()
    found = events.Histograms("~grad_stats/histogram")
    num_values = sum(p.numel() for p in module.parameters())
    assert [event.step for event in found] == steps
    assert all(sum(event.histogram_value.bucket) == num_values for event in found)
    assert all(event.histogram_value.num == num_values for event in found)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_gradients_that_are_not_finite_do_not_stop_training(tmp_path: Any, value: float) -> None:
    class Spoilt(SmallModule):
        def on_after_backward(self) -> None:
            if self.global_step == 3:
                self.net.body.weight.grad[0, 0] = value

    stats = GradientStats(histogram_every_n_logs=1)
    logger = TensorBoardLogger(tmp_path, name=None, version="")
    fitting = trainer(tmp_path, callbacks=[stats], logger=logger, enable_progress_bar=False)
    fitting.fit(Spoilt(), loader(), loader(1))
    events = EventAccumulator(str(tmp_path), size_guidance={"histograms": 0})
    events.Reload()
    counts = events.Histograms("~grad_stats/histogram")[1].histogram_value.bucket
    assert sum(counts) == sum(p.numel() for p in Spoilt().parameters()) - 1


def test_histogram_of_a_large_network_takes_a_sample() -> None:
    gradients = [torch.linspace(-1, 1, 100_000).view(100, 1000), torch.tensor([2.0, 0.0])]
    counts, limit, total, squares = Histogram.of(sampled_values(gradients).numpy())
    # Every 25th value of each tensor.
    assert sum(counts) == 100_000 // 25 + 1
    assert limit == 2.0
    assert counts[-1] == 1
    assert sum(counts[:16]) == 0  # nothing below -1
    assert total == pytest.approx(2.0, abs=1.0)
    assert squares == pytest.approx(4 + 100_000 / 25 / 3, rel=0.01)


@pytest.mark.parametrize("value", [0.0, math.nan])
def test_histogram_of_nothing_is_one_of_zeros(value: float) -> None:
    counts, limit, total, squares = Histogram.of(np.full(3, value, np.float32))
    assert sum(counts) == counts[32] == (value == 0.0) * 3
    assert limit > 0
    assert (total, squares) == (0.0, 0.0)


def test_no_logger_no_work(tmp_path: Any) -> None:
    stats = GradientStats()
    trainer(tmp_path, callbacks=[stats], enable_progress_bar=False).fit(
        SmallModule(), loader(), loader(1)
    )
    assert stats.latest == {}


def test_snr_of_pure_signal_and_of_nothing() -> None:
    snr, signal, variance = gradient_snr(sum_of_squares=4.0, square_of_sum=16.0, num_steps=4)
    assert signal == pytest.approx(1.0)
    assert variance == pytest.approx(1e-6)  # as far as float32 sums can tell
    assert snr == pytest.approx(1e6, rel=1e-3)
    assert gradient_snr(0.0, 0.0, 4) == (0.0, 0.0, 0.0)


def test_snr_is_unbiased_where_signal_and_noise_are_known() -> None:
    generator = np.random.default_rng(0)
    signals = []
    for _ in range(2000):
        g = 0.3 + generator.normal(size=(5, 8))  # |signal|² = 8·0.09, V = 8
        mean_square, n = (g**2).sum(), len(g)
        sum_square = (g.sum(axis=0) ** 2).sum()
        variance = (mean_square - sum_square / n) / (n - 1)
        signals.append(sum_square / n**2 - variance / n)  # before max(0, ...)
    assert np.mean(signals) == pytest.approx(0.72, abs=0.08)


@pytest.mark.parametrize(
    "argument", [{"log_every_n_steps": 0}, {"layer_depth": 0}, {"snr_min_steps": 1}]
)
def test_arguments_out_of_range(argument: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=next(iter(argument))):
        GradientStats(**argument)

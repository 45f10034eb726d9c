"""The figures of one stage (train, val or test) over an epoch, and the batches they come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from src.models.metrics import Direction, ParameterMetrics, WideMean

# Decoding and counting takes some 15 small tensor operations, for 4,000 samples hardly longer than
# for 128: on every step they would be about 7 % of a small network's time.
SETTLE_EVERY = 32


class StepResult(NamedTuple):
    """Loss, predictions and targets of a step; both dicts by head, in the parameters' units."""

    loss: Tensor
    predictions: dict[str, Tensor]
    targets: dict[str, Tensor]


class StepOutputs(NamedTuple):
    """Loss, outputs and targets of a step before anything is decoded."""

    loss: Tensor  # scalar, to go backward from
    outputs: dict[str, Tensor]  # by head, as the network gives them
    labels: dict[str, Tensor]  # by head, as the losses take them
    # Normalised to 0...1 in the heads' order, (B, P); None where only labels are known
    values: Tensor | None

    @property
    def size(self) -> int:
        """The number of samples."""
        return len(next(iter(self.outputs.values())))

    def detach(self) -> StepOutputs:
        """Return the same without the graph."""
        outputs = {name: output.detach() for name, output in self.outputs.items()}
        return self._replace(loss=self.loss.detach(), outputs=outputs)


class StageMetrics(nn.Module):
    """The loss and the heads' figures of one stage, over an epoch.

    Args:
        metrics: The figures; a copy is kept.
        decode: Makes values in units of outputs, labels and values (one or more steps together).
    """

    heads: ParameterMetrics
    loss: WideMean

    def __init__(
        self, metrics: ParameterMetrics, decode: Callable[[StepOutputs], StepResult]
    ) -> None:
        super().__init__()
        self.heads = deepcopy(metrics)
        self.loss = WideMean()
        # Saved in checkpoints, so that a run resumed within an epoch counts on.
        self.heads.persistent(True)
        self.loss.persistent(True)
        self.register_state_dict_pre_hook(StageMetrics._settle)
        self._decode = decode
        # Spawned processes (ddp_spawn) give back shared memory only.
        self._num_samples = torch.zeros(1, dtype=torch.int64).share_memory_()
        self._pending: list[StepOutputs] = []

    @property
    def directions(self) -> dict[str, Direction]:
        """What :meth:`compute` gives, and which way each of them is better."""
        return {"loss": "min", **self.heads.directions}

    @property
    def num_samples(self) -> int:
        """Samples of the last epoch, on all ranks."""
        return int(self._num_samples)

    def update(self, step: StepOutputs) -> None:
        """Add a batch. It is counted later, together with others."""
        self._pending.append(step.detach())
        if len(self._pending) >= SETTLE_EVERY:
            self._settle()

    def compute(self) -> dict[str, Tensor]:
        """Return the epoch's figures by name, summed over the ranks, and start again."""
        self._settle()
        values = {"loss": self.loss.compute().float(), **self.heads.compute()}
        self._num_samples.fill_(self.heads.num_computed)
        self.loss.reset()
        self.heads.reset()
        return values

    @torch.no_grad()
    def _settle(self, *_: Any) -> None:
        """Count the pending batches; called also before the state is saved."""
        if not self._pending:
            return
        steps, self._pending = self._pending, []
        losses = torch.stack([step.loss for step in steps])
        sizes = torch.tensor([step.size for step in steps], device=losses.device)
        self.loss.update(losses, sizes)
        result = self._decode(_joined(steps))
        predicted = torch.stack(list(result.predictions.values()), dim=1)
        true = torch.stack(list(result.targets.values()), dim=1)
        self.heads.update(predicted, true)


def _joined(steps: list[StepOutputs]) -> StepOutputs:
    """Join the samples of all steps in one, whose loss says nothing."""
    values = [step.values for step in steps if step.values is not None]
    return StepOutputs(
        steps[0].loss,
        _concatenated([step.outputs for step in steps]),
        _concatenated([step.labels for step in steps]),
        torch.cat(values) if values else None,
    )


def _concatenated(dicts: list[Mapping[str, Any]]) -> dict[str, Tensor]:
    return {name: torch.cat([tensors[name] for tensors in dicts]) for name in dicts[0]}

"""Bounds for the arguments of torch's and Lightning's classes.

Their signatures say types at most. What they would take and then fail at, or do something senseless
with, is refused here, by argument name; names and types that are not listed are those of the
signatures. https://docs.pytorch.org/docs/stable/optim.html and
https://lightning.ai/docs/pytorch/stable/common/trainer.html say what each means.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from annotated_types import Gt, Interval, Len
from pydantic import Strict

from src.schema.bounds import Count, PositiveCount, Share, Text

_Positive = Annotated[float, Gt(0)]
_NotNegative = Annotated[float, Interval(ge=0)]
_Decay = Annotated[float, Interval(ge=0, lt=1)]
_Mode = Literal["min", "max"]

TORCH: dict[str, Any] = {
    # losses
    "label_smoothing": Share,
    "reduction": Literal["mean", "sum"],
    # optimisers
    "lr": _Positive,
    "betas": Annotated[tuple[_Decay, _Decay], Strict(False)],
    "eps": _NotNegative,
    "weight_decay": _NotNegative,
    "lr_decay": _NotNegative,
    "momentum": Share,
    "dampening": Share,
    "alpha": Share,
    "rho": Share,
    # schedulers
    "T_max": PositiveCount,
    "T_0": PositiveCount,
    "T_mult": PositiveCount,
    "eta_min": _NotNegative,
    "max_lr": _Positive,
    "min_lr": _NotNegative,
    "factor": Share,
    "gamma": _Positive,
    "start_factor": Annotated[float, Interval(gt=0, le=1)],
    "end_factor": Share,
    "pct_start": Share,
    "step_size": PositiveCount,
    "total_iters": Count,
    "total_steps": PositiveCount,
    "steps_per_epoch": PositiveCount,
    "epochs": PositiveCount,
    "milestones": Annotated[list[Count], Len(1)],
    "patience": Count,
    "cooldown": Count,
    "threshold": _NotNegative,
    "mode": _Mode,
}
_Epochs = Annotated[int, Interval(ge=-1, le=2**31 - 1)]  # -1: without end
LIGHTNING: dict[str, Any] = {
    "monitor": Text,
    "mode": _Mode,
    "patience": Count,
    "min_delta": _NotNegative,
    "filename": Text | None,
    "dirpath": Text | None,
    "save_dir": Text,
    "save_top_k": Annotated[int, Interval(ge=-1)],
    "every_n_train_steps": Count | None,
    "every_n_epochs": Count | None,
    "max_depth": Annotated[int, Interval(ge=-1)],
    "flush_logs_every_n_steps": PositiveCount,
    "flush_secs": PositiveCount,
}


def bounds_of(cls: type) -> dict[str, Any]:
    """The bounds for a class's arguments; none for a class of our own, whose signature has them."""
    room = cls.__module__.partition(".")[0]
    if room == "torch":
        return TORCH
    return LIGHTNING if room in ("lightning", "pytorch_lightning") else {}

"""Bounds for the arguments of torch's and Lightning's classes.

Their signatures say types at most. What they would take and then fail at, or do something senseless
with, is refused here, by argument name; names and types that are not listed are those of the
signatures. https://docs.pytorch.org/docs/stable/optim.html and
https://lightning.ai/docs/pytorch/stable/common/trainer.html say what each means.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from annotated_types import Interval, Len, Predicate, doc
from pydantic import Strict

from src.schema.bounds import Count, NonNegative, PositiveCount, Real, Share, Text, Threshold

_Rate = Annotated[Real, Interval(gt=0, le=1e6)]
_Positive = Annotated[float, Interval(gt=0, le=1e12)]
_NotNegative = NonNegative
_Decay = Annotated[float, Interval(ge=0, lt=1)]
_Mode = Literal["min", "max"]

TORCH: dict[str, Any] = {
    # losses
    "label_smoothing": Share,
    "reduction": Literal["mean", "sum"],
    # optimisers
    "lr": _Rate,
    "betas": Annotated[tuple[_Decay, _Decay], Strict(False)],
    "eps": _NotNegative,
    "weight_decay": Annotated[Real, Interval(ge=0, le=1e6)],
    "lr_decay": _NotNegative,
    "momentum": Share,
    "dampening": Share,
    "alpha": Share,
    "rho": Share,
    # schedulers
    "T_max": PositiveCount,
    "T_0": PositiveCount,
    "T_mult": PositiveCount,
    "eta_min": Annotated[Real, Interval(ge=0, le=1e6)],
    "max_lr": _Rate,
    "min_lr": Annotated[Real, Interval(ge=0, le=1e6)],
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
LIGHTNING: dict[str, Any] = {
    "monitor": Text | None,  # null: as `monitor.metric` is resolved
    "mode": _Mode | None,  # null: as `monitor.mode` is resolved
    "patience": Count,
    "min_delta": _NotNegative,
    "stopping_threshold": Threshold | None,
    "divergence_threshold": Threshold | None,
    "filename": Text | None,
    "dirpath": Text | None,
    "save_dir": Text,
    "version": Count | str | None,
    "name": str | None,
    "prefix": str,
    "save_top_k": Annotated[int, Interval(ge=-1)],
    "every_n_train_steps": Count | None,
    "every_n_epochs": Count | None,
    # A timedelta, which no config can say.
    "train_time_interval": Annotated[
        None, doc("null; every_n_epochs and every_n_train_steps say how often")
    ],
    "max_depth": Annotated[int, Interval(ge=-1)],
    "flush_logs_every_n_steps": PositiveCount,
    "flush_secs": PositiveCount,
}
# No limit is -1: 0 would train nothing and say that all went well.
_Limit = Annotated[
    int,
    Interval(ge=-1, le=2**31 - 1),
    Predicate(bool),
    doc("a whole number of at least 1, or -1 for no limit"),
]
_Batches = Annotated[int, Interval(ge=0, le=2**31 - 1)] | Share
TRAINER: dict[str, Any] = {
    "min_epochs": Count,
    "max_epochs": _Limit,
    "min_steps": Count,
    "max_steps": _Limit,
    "max_time": Text | Annotated[dict[str, Count], Len(1)],
    "limit_train_batches": PositiveCount | Annotated[Real, Interval(gt=0, le=1)],
    "limit_val_batches": _Batches,
    "limit_test_batches": _Batches,
    "limit_predict_batches": _Batches,
    "overfit_batches": _Batches,
    "fast_dev_run": bool | Count,
    "accelerator": Text,
    "devices": Annotated[int, Interval(ge=-1, le=1024), Predicate(bool)] | Text | list[Count],
    "num_nodes": Annotated[int, Interval(ge=1, le=65_536)],
    "gradient_clip_val": _NotNegative,
    "gradient_clip_algorithm": Literal["norm", "value"],
    "accumulate_grad_batches": PositiveCount,
    "check_val_every_n_epoch": PositiveCount,
    "val_check_interval": PositiveCount | Annotated[float, Interval(gt=0, le=1)] | Text,
    "num_sanity_val_steps": Annotated[int, Interval(ge=-1, le=2**31 - 1)],
    "log_every_n_steps": PositiveCount,
    "reload_dataloaders_every_n_epochs": Count,
    "default_root_dir": Text,
}


def bounds_of(cls: type) -> dict[str, Any]:
    """Return the bounds for the arguments of a class of torch or Lightning.

    A constructor of our own has its bounds in its signature.
    """
    author = next((c for c in cls.__mro__ if "__init__" in vars(c)), cls)
    package = author.__module__.partition(".")[0]
    if package == "lightning":
        return TRAINER if author.__name__ == "Trainer" else LIGHTNING
    return TORCH if package == "torch" else {}

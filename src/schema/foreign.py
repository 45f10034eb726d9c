"""Bounds for the arguments of torch's and Lightning's classes.

Their signatures say types at most. What they would take and then fail at, or do something senseless
with, is refused here, by argument name; names and types that are not listed are those of the
signatures. https://docs.pytorch.org/docs/stable/optim.html and
https://lightning.ai/docs/pytorch/stable/common/trainer.html say what each means.
"""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Interval, Len, Predicate, doc
from pydantic import Strict

from src.schema.arguments import Hint
from src.schema.bounds import Count, NonNegative, PositiveCount, Real, Share, Text, Threshold

_Decay = Annotated[float, Interval(ge=0, lt=1)]
_Mode = Literal["min", "max"]
# No limit is -1: 0 would train nothing and say that all went well.
_Limit = Annotated[
    int,
    Interval(ge=-1, le=2**31 - 1),
    Predicate(bool),
    doc("a whole number of at least 1, or -1 for no limit"),
]


def _each(names: str, hint: Hint) -> dict[str, Hint]:
    return dict.fromkeys(names.split(), hint)


# Of losses, optimisers and schedulers.
TORCH: dict[str, Hint] = {
    **_each("lr max_lr", Annotated[Real, Interval(gt=0, le=1e6)]),
    **_each("weight_decay eta_min min_lr", Annotated[Real, Interval(ge=0, le=1e6)]),
    **_each("eps lr_decay threshold", NonNegative),
    **_each("label_smoothing momentum dampening alpha rho factor end_factor pct_start", Share),
    **_each("T_max T_0 T_mult step_size total_steps steps_per_epoch epochs", PositiveCount),
    **_each("total_iters patience cooldown", Count),
    "milestones": Annotated[list[Count], Len(1)],
    "betas": Annotated[tuple[_Decay, _Decay], Strict(False)],
    "gamma": Annotated[float, Interval(gt=0, le=1e12)],
    "start_factor": Annotated[float, Interval(gt=0, le=1)],
    "reduction": Literal["mean", "sum"],
    "mode": _Mode,
}
LIGHTNING: dict[str, Hint] = {
    "monitor": Text | None,  # null: as `monitor.metric` is resolved
    "mode": _Mode | None,  # null: as `monitor.mode` is resolved
    "patience": Count,
    "min_delta": NonNegative,
    **_each("stopping_threshold divergence_threshold", Threshold | None),
    **_each("filename dirpath", Text | None),
    "save_dir": Text,
    "version": Count | str | None,
    "name": str | None,
    "prefix": str,
    **_each("save_top_k max_depth", Annotated[int, Interval(ge=-1)]),
    **_each("every_n_train_steps every_n_epochs", Count | None),
    # A timedelta, which no config can say.
    "train_time_interval": Annotated[
        None, doc("null; every_n_epochs and every_n_train_steps say how often")
    ],
    **_each("flush_logs_every_n_steps flush_secs", PositiveCount),
}
TRAINER: dict[str, Hint] = {
    **_each("max_epochs max_steps", _Limit),
    **_each("min_epochs min_steps reload_dataloaders_every_n_epochs", Count),
    "max_time": Text | Annotated[dict[str, Count], Len(1)],
    "limit_train_batches": PositiveCount | Annotated[Real, Interval(gt=0, le=1)],
    **_each(
        "limit_val_batches limit_test_batches limit_predict_batches overfit_batches", Count | Share
    ),
    "fast_dev_run": bool | Count,
    **_each("accelerator default_root_dir", Text),
    "devices": Annotated[int, Interval(ge=-1, le=1024), Predicate(bool)] | Text | list[Count],
    "num_nodes": Annotated[int, Interval(ge=1, le=65_536)],
    "gradient_clip_val": NonNegative,
    "gradient_clip_algorithm": Literal["norm", "value"],
    **_each("accumulate_grad_batches check_val_every_n_epoch log_every_n_steps", PositiveCount),
    "val_check_interval": PositiveCount | Annotated[float, Interval(gt=0, le=1)] | Text,
    "num_sanity_val_steps": Annotated[int, Interval(ge=-1, le=2**31 - 1)],
}


def bounds_of(cls: type) -> dict[str, Hint]:
    """Return the bounds for the arguments of a class of torch or Lightning.

    A constructor of our own has its bounds in its signature.
    """
    author = next((c for c in cls.__mro__ if "__init__" in vars(c)), cls)
    package = author.__module__.partition(".")[0]
    if package == "lightning":
        return TRAINER if author.__name__ == "Trainer" else LIGHTNING
    return TORCH if package == "torch" else {}

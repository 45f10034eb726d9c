"""The figures of an evaluation: what they are, and their values with intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Float64

from src.evaluation.scoring.audio_metrics import AUDIO_METRICS, PUBLISHED_METRICS
from src.evaluation.scoring.intervals import Estimate, bootstrap_means, interval
from src.vimh.parameters import Parameter

# Names of shares within so many steps; that of one is the name training logs.
JND_SHARES = {"half_jnd": 0.5, "jnd": 1.0, "two_jnd": 2.0}

ALL = "all parameters"
SOUND = "sound"
PUBLISHED = "sound, as published"

Kind = Literal["number", "percent", "share", "cosine"]
Better = Literal["lower", "higher"]
Columns = dict[str, Float64[np.ndarray, "N"]]


@dataclass(frozen=True)
class Figure:
    """One figure and how it is shown."""

    name: str  # its key in `metrics.json`
    group: str  # the parameter it is of, :data:`ALL` of them, :data:`SOUND` or :data:`PUBLISHED`
    label: str  # for people
    unit: str  # of a number; empty: none
    kind: Kind  # a number, one in %, a share in 0…1, or a cosine
    better: Better | None  # which way is better; None: neither, or another figure says the same


def figures_of(parameter: Parameter) -> list[Figure]:
    """Return the figures of one head."""
    name, unit = parameter.name, shown_unit(parameter)
    if parameter.is_categorical:
        return [Figure(f"{name}_acc", name, "right class", "", "share", "higher")]
    of_what = "value" if parameter.is_log else "range"
    found = [
        Figure(f"{name}_mae", name, "MAE", unit, "number", "lower"),
        Figure(f"{name}_mae_percent", name, f"MAE of {of_what}", "%", "percent", None),
        Figure(f"{name}_rmse", name, "RMSE", unit, "number", "lower"),
        Figure(f"{name}_bias", name, "bias", unit, "number", None),
    ]
    shares = share_labels([parameter]) if parameter.has_jnd else {}
    return found + [
        Figure(f"{name}_{key}", name, label, "", "share", "higher") for key, label in shares.items()
    ]


def share_labels(parameters: Sequence[Parameter]) -> dict[str, str]:
    """Return the labels of :data:`JND_SHARES` of heads with steps: "within ½ JND", and so on."""
    word, counts = step_word(parameters), ("½", "1", "2")
    return {name: f"within {count} {word}" for name, count in zip(JND_SHARES, counts, strict=True)}


def step_word(parameters: Sequence[Parameter]) -> str:
    """Return what steps are called: "JND", or "tolerance" where one of them is."""
    words = {p.step_name for p in parameters if p.has_jnd}
    return "tolerance" if "tolerance" in words else "JND"


def shown_unit(parameter: Parameter) -> str:
    """Return the unit as it is shown: nothing for "1"."""
    return "" if parameter.unit == "1" else parameter.unit


def joint_figures(parameters: Sequence[Parameter]) -> list[Figure]:
    """Return the figures of all heads at once; none where there is one head."""
    found: list[Figure] = []
    if len(parameters) == 1:
        return found
    if any(p.has_jnd for p in parameters):
        unit, labels = step_word(parameters), share_labels(parameters)
        found.append(Figure("mae_jnd", ALL, "mean MAE", unit, "number", "lower"))
        found += [Figure(key, ALL, label, "", "share", "higher") for key, label in labels.items()]
    if any(p.is_categorical for p in parameters):
        found.append(Figure("all_acc", ALL, "all classes right", "", "share", "higher"))
    if _is_stepless(parameters):
        found.append(Figure("nmse", ALL, "NMSE of ranges", "", "number", "lower"))
    return found


def _is_stepless(parameters: Sequence[Parameter]) -> bool:
    """Return whether an ordered head has no step, so that no figure in steps is of all heads."""
    return any(not p.is_categorical and not p.has_jnd for p in parameters)


def sound_figures() -> list[Figure]:
    """Return the distances of resynthesised sounds."""
    return [
        Figure(m.name, SOUND, m.label, m.unit, "cosine", "higher")
        if m.higher_is_better
        else Figure(m.name, SOUND, m.label, m.unit, "number", "lower")
        for m in AUDIO_METRICS
    ]


def published_figures() -> list[Figure]:
    """Return the distances as papers compute them: the same sounds, so no verdict counts them."""
    return [
        Figure(
            m.name, PUBLISHED, m.label, m.unit, "cosine" if m.higher_is_better else "number", None
        )
        for m in PUBLISHED_METRICS
    ]


def sample_columns(
    predicted: Float[np.ndarray, "N P"],
    true: Float[np.ndarray, "N P"],
    parameters: Sequence[Parameter],
) -> Columns:
    """What is known of each sample, by name: the figures are functions of its means.

    Of ordered heads ``_bias`` (error in the parameter's unit), ``_mae`` (without its sign) and
    ``_rmse`` (squared), and where the spacing is log ``_mae_percent`` (the second in % of the true
    value); of those with a step ``_half_jnd``, ``_jnd``, ``_two_jnd`` (1 where within,
    by :meth:`Parameter.tolerance`); of categorical ones ``_acc`` (1 where right); and the same of
    all heads at once. Where one has no step, ``nmse`` is the mean over ordered heads of
    ``((v̂ − v)/(max − min))²``, in values whatever their spacing, as in the 1st DAFx Parameter
    Estimation Challenge (2026). A NaN is a NaN error, and counts as wrong.
    """
    error = predicted.astype(np.float64) - true
    columns: Columns = {}
    in_steps, in_ranges = [], []
    for column, p in enumerate(parameters):
        own = error[:, column]
        if p.is_categorical:
            columns[f"{p.name}_acc"] = (np.abs(own) < 0.5 * p.codec.width).astype(float)
            continue
        columns |= {
            f"{p.name}_bias": own,
            f"{p.name}_mae": np.abs(own),
            f"{p.name}_rmse": np.square(own),
        }
        in_ranges.append(np.square(p.share_of_range(own)))
        if p.is_log:
            columns[f"{p.name}_mae_percent"] = 100.0 * np.abs(own) / true[:, column]
        if p.has_jnd:
            far = np.abs(p.codec.error(predicted[:, column].astype(np.float64), true[:, column]))
            in_steps.append(p.codec.error_in_steps(far))
            for key, jnd in JND_SHARES.items():
                columns[f"{p.name}_{key}"] = (far <= p.tolerance(jnd)).astype(float)
    stepped = [p for p in parameters if p.has_jnd]
    classes = [p.name for p in parameters if p.is_categorical]
    if stepped:
        columns["mae_jnd"] = np.mean(in_steps, axis=0)
        for key in JND_SHARES:
            columns[key] = np.min([columns[f"{p.name}_{key}"] for p in stepped], axis=0)
    if _is_stepless(parameters):
        columns["nmse"] = np.mean(in_ranges, axis=0)
    if classes:
        columns["all_acc"] = np.min([columns[f"{name}_acc"] for name in classes], axis=0)
    return columns


@dataclass(frozen=True)
class Measured:
    """The figures of one method by name."""

    values: dict[str, float]  # on the samples as they are
    # On each resample; the same resamples for all methods
    replicates: dict[str, Float64[np.ndarray, "R"]]

    def estimate(self, name: str) -> Estimate:
        """Return a figure with its 95 % interval."""
        return Estimate(self.values[name], *interval(self.replicates[name]))

    def beats(self, other: "Measured", figure: Figure) -> bool:
        """Whether the whole 95 % interval of a figure's paired difference is on the better side."""
        difference = self.replicates[figure.name] - other.replicates[figure.name]
        low, high = interval(difference)
        return high < 0 if figure.better == "lower" else low > 0

    def __or__(self, other: "Measured") -> "Measured":
        return Measured(self.values | other.values, self.replicates | other.replicates)


def measure(
    columns: Mapping[str, Columns], parameters: Sequence[Parameter], resamples: int, seed: int
) -> dict[str, Measured]:
    """Return the figures of each method, from what is known of each sample.

    That is what :func:`sample_columns` gives, or distances of sounds; all methods of the same
    samples. Resamples and seed are those of the bootstrap.
    """
    names = [(method, name) for method, own in columns.items() for name in own]
    matrix = np.column_stack([columns[method][name] for method, name in names])
    # The samples as they are in row 0, then the resamples.
    drawn = np.vstack([matrix.mean(axis=0), bootstrap_means(matrix, resamples, seed)])
    means: dict[str, Columns] = {method: {} for method in columns}
    for (method, name), column in zip(names, drawn.T, strict=True):
        means[method][name] = column
    measured = {}
    for method, own in means.items():
        found = _from_means(own, parameters)
        measured[method] = Measured(
            {name: float(column[0]) for name, column in found.items()},
            {name: column[1:] for name, column in found.items()},
        )
    return measured


def _from_means(means: Columns, parameters: Sequence[Parameter]) -> Columns:
    """Return the figures of means: the root of squares, and errors in % of the range."""
    found = dict(means)
    for p in parameters:
        if f"{p.name}_mae" in means:
            found[f"{p.name}_rmse"] = np.sqrt(means[f"{p.name}_rmse"])
        if f"{p.name}_mae" in means and not p.is_log:
            found[f"{p.name}_mae_percent"] = p.codec.error_in_range(100.0 * means[f"{p.name}_mae"])
    return found

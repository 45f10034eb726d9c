"""The card of a trained model in Markdown: what it reads, how it was made, how well it does."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from src.evaluation.presentation.coverage_section import confidences_table, unlike_sentences
from src.evaluation.presentation.figure_tables import estimate_text, figure_text, number_text
from src.evaluation.presentation.page import markdown_cell, markdown_table
from src.evaluation.scoring.coverage import Coverage
from src.evaluation.scoring.evaluation import NETWORK, Evaluation
from src.evaluation.scoring.figures import Figure, figures_of, shown_unit, step_word
from src.evaluation.scoring.intervals import CONFIDENCE
from src.vimh.metadata import Metadata
from src.vimh.parameters import Parameter

WIDTH = 100  # of prose
SURE = f"{100 * CONFIDENCE:.0f} %"
MOST_NAMED = 6  # classes, or fixed parameters, that are written out
OF_THE_SETTING = ("_target_", "type", "sample_rate")  # of a front end; said elsewhere


@dataclass(frozen=True)
class Making:
    """How a model was made.

    Attributes:
        command: The training, for copying.
        network: The class of the network, and its weights.
        trained: Epochs, time, seed, commit and versions.
        splits: Number of samples by split.
        needs: What making sounds of its values needs; "" where nothing but this project.
        files: Sizes in bytes by name.
    """

    command: str
    network: str
    trained: str
    splits: Mapping[str, int]
    needs: str
    files: Mapping[str, int]


def card_lines(
    name: str, evaluation: Evaluation, coverages: Sequence[Coverage], making: Making
) -> list[str]:
    """Return the card.

    Args:
        name: Of the model in the zoo.
        evaluation: Of the test split.
        coverages: Of its intervals there, at several confidences.
        making: How it was made.
    """
    metadata = evaluation.metadata
    facts = {
        "sounds": _sounds(metadata),
        "data set": _data_set(metadata, making),
        "front end": _front_end(metadata),
        "network": making.network,
        "command": f"`{making.command}`",
        "trained": making.trained,
        "files": ", ".join(f"`{file}` {size:,} bytes" for file, size in making.files.items()),
        "sounds of its values": making.needs or "need nothing but this project",
    }
    return [
        f"# zoo:{name}",
        "",
        "```",
        f"python src/predict.py zoo:{name} sound.wav",
        f"python examples/use_model.py zoo/{name}.onnx sound.wav",
        "```",
        "",
        "| | |",
        "|---|---|",
        *(f"| {what} | {text} |" for what, text in facts.items()),
        "",
        "## Errors",
        "",
        _paragraph(
            f"Mean absolute errors on {len(evaluation.found):,} test samples, which neither "
            f"training nor calibration has seen, with the bootstrap interval of {SURE}; of classes "
            "the share that is right. The last columns are baselines: docs/evaluation.md."
        ),
        "",
        *_error_table(evaluation),
        "",
        "## Intervals",
        "",
        _paragraph(
            "Share of true values inside their intervals on the same samples, with the exact "
            f"binomial interval of {SURE}. The intervals were measured on "
            f"{coverages[0].calibrated_on:,} validation samples. A star: the nominal confidence "
            "lies outside of the brackets."
        ),
        "",
        *confidences_table(coverages),
        "",
        *unlike_sentences(coverages[0]),
        "",
        "## Limits",
        "",
        _paragraph(limits(metadata)),
    ]


def _paragraph(text: str) -> str:
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)


def summary_row(
    name: str, page: str, evaluation: Evaluation, coverages: Sequence[Coverage], making: Making
) -> str:
    """Return a model's line of the table of all: errors in % of each range, coverage, sizes.

    Args:
        name: Of the model in the zoo.
        page: The card, as the table's page links it.
        evaluation: Of the test split.
        coverages: As in :func:`card_lines`.
        making: How it was made.
    """
    middle = coverages[len(coverages) // 2]
    shares = sorted(head.share.value for head in middle.heads)
    ends = dict.fromkeys(f"{100 * share:.1f}" for share in (shares[0], shares[-1]))
    reads = [f"`{p.name}` {_short(evaluation, p)}" for p in evaluation.parameters]
    sizes = " + ".join(f"{size / 1000:.0f}" for size in making.files.values())
    cells = [
        f"[`zoo:{name}`]({page})",
        ", ".join(reads),
        _rate(evaluation.metadata),
        f"{' to '.join(ends)} %",
        f"{sizes} kB",
    ]
    return f"| {' | '.join(cells)} |"


def _short(evaluation: Evaluation, parameter: Parameter) -> str:
    values = evaluation.measured[NETWORK].values
    if parameter.is_categorical:
        return f"{100 * values[f'{parameter.name}_acc']:.1f} % right"
    return f"{number_text(values[f'{parameter.name}_mae_percent'])} %"


def _error_table(evaluation: Evaluation) -> list[str]:
    """Return a line a parameter: range, the network's error, share within a step, baselines."""
    others = [method for method in evaluation.measured if method != NETWORK]
    word = step_word(evaluation.parameters)
    with_steps = [f"within 1 {word}"] if any(p.has_jnd for p in evaluation.parameters) else []
    rows = []
    for p in evaluation.parameters:
        error = figures_of(p)[0]
        estimate = evaluation.measured[NETWORK].estimate(error.name)
        unit = "%" if p.is_categorical else shown_unit(p)
        own = f"{estimate_text(error, estimate)} {unit}".strip() + _share(evaluation, p)
        steps = [_within(evaluation, p)] if with_steps else []
        rows.append(
            [p.name, _range(p), own, *steps, *(_other(evaluation, m, p, error) for m in others)]
        )
    return markdown_table(["parameter", "range", NETWORK, *with_steps, *others], rows)


def _share(evaluation: Evaluation, parameter: Parameter) -> str:
    """Return the network's error in % of the range, or with log spacing of the value."""
    if parameter.is_categorical:
        return ""
    of_what = "value" if parameter.is_log else "range"
    return f" ({_short(evaluation, parameter)} of {of_what})"


def _other(evaluation: Evaluation, method: str, parameter: Parameter, error: Figure) -> str:
    text = figure_text(error, evaluation.measured[method].values[error.name])
    return f"{text} %" if parameter.is_categorical else text


def _within(evaluation: Evaluation, parameter: Parameter) -> str:
    if not parameter.has_jnd:
        return ""
    return f"{100 * evaluation.measured[NETWORK].values[f'{parameter.name}_jnd']:.1f} %"


def _range(parameter: Parameter) -> str:
    if parameter.is_categorical:
        names = parameter.class_names
        return ", ".join(names) if len(names) <= MOST_NAMED else f"{len(names)} classes"
    spacing = ", log" if parameter.is_log else ""
    return f"{parameter.min:g} to {parameter.max:g} {shown_unit(parameter)}".strip() + spacing


def _rate(metadata: Metadata) -> str:
    return f"{metadata.duration:g} s at {metadata.sample_rate:g} Hz"


def _sounds(metadata: Metadata) -> str:
    """Return how long, at what rate, and by what the sounds were made."""
    synth = (metadata.recipe or {}).get("synth")
    assert isinstance(synth, Mapping)
    engine, program = synth.get("engine"), synth.get("dsp")
    by = f"`{synth['_target_']}`"
    if isinstance(engine, Mapping):
        name, version = f"{engine['name']}", f"{engine['version']}"
        by += f", made by {version if name in version.lower() else f'{name} {version}'}"
    by += f", program `{program}`" if program else ""
    return f"{_rate(metadata)}, by {by}"


def _data_set(metadata: Metadata, making: Making) -> str:
    counts = ", ".join(f"{count:,} {split}" for split, count in making.splits.items())
    seed = (metadata.recipe or {}).get("seed")
    return markdown_cell(f"{metadata.dataset_name}: {counts}; the recipe's seed is {seed}")


def _front_end(metadata: Metadata) -> str:
    settings = {
        key: value
        for key, value in metadata.spectrogram_config.items()
        if key not in OF_THE_SETTING and value is not None
    }
    kind = metadata.spectrogram_config.get("type") or metadata.spectrogram_config.get("_target_")
    said = ", ".join(f"{key} {value}" for key, value in settings.items())
    return markdown_cell(f"{kind}: {said}; images {metadata.image_size}")


def limits(metadata: Metadata) -> str:
    """Say in a sentence what sounds a model knows."""
    fixed = metadata.fixed_parameters
    few = len(fixed) <= MOST_NAMED
    rest = ", ".join(f"`{name}` {value:g}" for name, value in fixed.items()) if few else ""
    held = f" (fixed: {rest})" if rest else ""
    noise = (metadata.recipe or {}).get("noise")
    heard = "without noise"
    if isinstance(noise, Mapping):
        heard = f"under white noise {noise['snr_min_db']:g} to {noise['snr_max_db']:g} dB below"
    return (
        f"It knows the sounds of this synthesiser alone, {heard}, from their onset on, with the "
        f"parameters in the ranges above and all else as in the recipe{held}; values of other "
        "sounds, recordings among them, mean nothing, even where none is called unlike "
        "(docs/trust.md). One training with one seed: another comes out a little different."
    )

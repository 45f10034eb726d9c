"""An evaluation for people and scripts: a page with pictures, ``metrics.json``, a screen."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, SupportsFloat

import numpy as np
import yaml
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig

from src.calibration.calibration import remarks
from src.evaluation.presentation.coverage_section import (
    coverage_lines,
    coverage_table,
    unlike_sentences,
)
from src.evaluation.presentation.figure_tables import figure_table, sound_table
from src.evaluation.presentation.image_axes import step_text
from src.evaluation.presentation.listening import listening_lines, write_sounds
from src.evaluation.presentation.metrics_file import commit, save_metrics, versions
from src.evaluation.presentation.page import markdown_cell, write_page
from src.evaluation.presentation.pictures import (
    confusion_matrix,
    head_picture,
    sounds_picture,
    worst_picture,
)
from src.evaluation.presentation.refining_section import (
    refining_json,
    refining_lines,
    refining_tables,
)
from src.evaluation.presentation.run_summary import (
    measured_text,
    print_comparison,
    print_run,
)
from src.evaluation.scoring.coverage import coverage_of
from src.evaluation.scoring.evaluation import NETWORK, Evaluation, evaluate_split
from src.evaluation.scoring.figures import (
    figures_of,
    joint_figures,
    published_figures,
    shown_unit,
    sound_figures,
)
from src.evaluation.scoring.intervals import CONFIDENCE, least_share
from src.evaluation.scoring.refinement import refine_split
from src.evaluation.scoring.rows import network_row, no_yardstick, row_of
from src.utils.rich_utils import plain_console, print_table
from src.vimh.parameters import Parameter

if TYPE_CHECKING:
    from src.build import Built
    from src.data.vimh_datamodule import VIMHDataModule
    from src.refining.refiner import Refiner

REPORT, PAGE = "report.md", "report.html"
PICTURES = "pictures"
WORST = 8  # samples in the picture of the worst
CONFUSIONS = 10  # of classes, in the table of the most frequent
DOTS_PER_INCH = 72


@rank_zero_only
def report_evaluation(
    cfg: DictConfig,
    built: Built,
    metrics: Mapping[str, SupportsFloat],
    loggers: list[Logger],
    trained_on: VIMHDataModule | None = None,
    refiner: Refiner | None = None,
) -> Path:
    """Write ``report.html``, ``report.md`` and ``metrics.json``, and print a summary.

    The page holds its pictures and sounds; ``report.md`` is the same beside their folders.

    Args:
        cfg: The composed config; ``split``, ``report``, ``seed`` and ``ckpt_path`` are read.
        built: The data module and the module, after testing.
        metrics: Every logged metric by name.
        loggers: The run's loggers.
        trained_on: The data whose training split the baselines learn from; None: ``built``'s own.
        refiner: Of the data set's synthesiser, where some of the sounds are to be refined.

    Returns:
        The page's path; None on all processes but the first.
    """
    evaluation = evaluate_split(
        built,
        cfg.split,
        trained_on,
        sounds=cfg.report.sounds,
        resamples=cfg.report.resamples,
        seed=cfg.seed,
        count=built.model.num_measured(cfg.split),
        progress=True,
    )
    refinement = None
    if refiner is not None:
        refinement = refine_split(
            evaluation, refiner, limit=cfg.limit, resamples=cfg.report.resamples, seed=cfg.seed
        )
    values = {name: float(value) for name, value in metrics.items()}
    classes, true = built.model.learnt_as_classes, evaluation.found.true
    rows = [
        row_of(method, predicted, true, evaluation.parameters, classes)
        for method, predicted in evaluation.predicted.items()
    ]
    folder = Path(cfg.paths.output_dir)
    sentences = [*verdicts(evaluation), *no_yardstick(rows[1:])]
    pictures = write_pictures(evaluation, folder / PICTURES)
    facts = _facts(cfg, built, trained_on)
    heard = evaluation if refinement is None else refinement.evaluation
    sounds = write_sounds(heard, folder)
    lines = report_lines(
        evaluation, facts, notes(evaluation, built, cfg.split), sentences, pictures
    )
    lines += ["", *(refining_lines(refinement) if refinement else [])]
    coverage = coverage_of(built.model, built.datamodule, cfg.split, cfg.confidence, len(true))
    lines += [*(coverage_lines(coverage) if coverage else [])]
    lines += [*listening_lines(sounds), *_origin(built)]
    (folder / REPORT).write_text("\n".join(lines) + "\n", encoding="utf-8")
    files = [f"{PICTURES}/{name}" for name in pictures.values()]
    files += re.findall(r"\]\((\S+\.wav)\)", "\n".join(sounds))
    write_page(folder / PAGE, f"{built.datamodule.metadata.dataset_name}: evaluation", lines, files)
    about = evaluation_json(evaluation, cfg.split, cfg.report.resamples)
    if refinement is not None:
        about["refining"] = refining_json(refinement)
    held = coverage.to_json() if coverage else None
    save_metrics(cfg, built, values, str(cfg.ckpt_path), rows[1:], evaluation=about, intervals=held)
    console = plain_console()
    print_comparison(console, built, [network_row(values, cfg.split), *rows[1:]], cfg.split)
    if coverage is not None:
        print_table(console, coverage_table(coverage))
    sentences += remarks(built.model.calibration, cfg.confidence)
    sentences += unlike_sentences(coverage) if coverage else []
    if evaluation.distances:
        title = f"{evaluation.num_sounds} resynthesised sounds against those of the true values"
        print_table(console, sound_table(evaluation, title, sound_figures()))
        title = "The same sounds, compared as papers do"
        print_table(console, sound_table(evaluation, title, published_figures()))
    for table in refining_tables(refinement, classes) if refinement else []:
        print_table(console, table)
    for sentence in sentences:
        console.print(sentence, soft_wrap=True)
    print_run(console, cfg, loggers)
    return folder / PAGE


def _facts(cfg: DictConfig, built: Built, trained_on: VIMHDataModule | None) -> dict[str, str]:
    """What was evaluated, and how."""
    return {
        "checkpoint": str(cfg.ckpt_path),
        "data set": built.datamodule.metadata.dataset_name,
        "samples": f"{measured_text(built, cfg.split)} samples",
        "baselines learn from": (trained_on or built.datamodule).metadata.dataset_name,
        "intervals": f"{100 * CONFIDENCE:.0f} %, bootstrap over the samples, "
        f"{cfg.report.resamples} resamples, seed {cfg.seed}",
    }


def _origin(built: Built) -> list[str]:
    """Return the versions that computed the report, and the model's config from its checkpoint."""
    said = {**versions(), "commit": commit() or "none"}
    config = yaml.safe_dump(built.model.provenance["config"], sort_keys=False, allow_unicode=True)
    # Markdown shows lines that are indented as they are.
    return [
        "## Versions",
        "",
        ", ".join(f"{name} {markdown_cell(version)}" for name, version in said.items()),
        "",
        "## Config",
        "",
        *(f"    {line}" for line in config.splitlines()),
    ]


def verdicts(evaluation: Evaluation) -> list[str]:
    """Return a sentence for each baseline: the figures in which the network does not beat it."""
    count = sum(figure.better is not None for figure in evaluation.figures)
    sentences = []
    for method, figures in evaluation.not_better.items():
        if not figures:
            sentences.append(f"Better than {method} in every figure ({count}).")
        elif len(figures) == count:
            sentences.append(f"Not better than {method} in any figure ({count}).")
        else:
            groups: dict[str, list[str]] = {}
            for figure in figures:
                groups.setdefault(figure.group, []).append(figure.label)
            where = "; ".join(f"{group}: {', '.join(labels)}" for group, labels in groups.items())
            sentences.append(
                f"Not better than {method} in {len(figures)} of {count} figures ({where})."
            )
    return sentences


def notes(evaluation: Evaluation, built: Built, split: str) -> list[str]:
    """Return sentences that are needed to read the figures correctly."""
    found = []
    count = len(evaluation.found)
    if count < built.datamodule.get_dataset_info()["split_sizes"][split]:
        found.append(f"The trainer's limits leave samples out: the first {count} are measured.")
    if split == "val":
        found.append("The checkpoint was selected on these samples, so its figures are too good.")
    if built.datamodule.avix_training_mode:
        found.append("AVIX mode tests the validation samples, so the figures are not independent.")
    network = evaluation.measured[NETWORK]
    shares = [figure.name for figure in evaluation.figures if figure.kind == "share"]
    if any(network.values[name] == 1.0 for name in shares):
        found.append(
            f"The interval of a share of 100 % has no width here, because every resample is right "
            f"as well: {count} right out of {count} only show that the share is above "
            f"{100 * least_share(count):.1f} % (one-sided, {100 * CONFIDENCE:.0f} %)."
        )
    if len(evaluation.measured) == 1:
        found.append("No baselines: there is no training split to learn from on this machine.")
    return found


def report_lines(
    evaluation: Evaluation,
    facts: Mapping[str, str],
    notes: Sequence[str],
    verdicts: Sequence[str],
    pictures: Mapping[str, str],
) -> list[str]:
    """Return the report in Markdown.

    Args:
        evaluation: The figures and predictions.
        facts: Checkpoint, data set and the like, by their headings.
        notes: Sentences on how to read the figures.
        verdicts: Sentences on the baselines.
        pictures: File names in the folder of pictures, by what they show.
    """
    lines = ["# Evaluation", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {markdown_cell(text)} |" for name, text in facts.items()]
    lines += ["", "Brackets hold the interval of the figure before them.", ""]
    lines += [*(f"{sentence}\n" for sentence in notes)]
    lines += ["## Against the baselines", ""]
    lines += [f"- {markdown_cell(sentence)}" for sentence in verdicts]
    lines += [
        "",
        "Better means: the whole interval of the paired difference is on the network's side.",
        "",
    ]
    if joint := joint_figures(evaluation.parameters):
        lines += ["## All parameters at once", "", *figure_table(evaluation, joint), ""]
    for p in evaluation.parameters:
        lines += [
            f"## {markdown_cell(_title(p))}",
            "",
            *figure_table(evaluation, figures_of(p)),
            "",
        ]
        lines += [f"![{markdown_cell(p.name)}]({PICTURES}/{pictures[p.name]})", ""]
        if p.is_categorical:
            lines += _confusions(evaluation, p)
    if evaluation.distances:
        lines += [*_sound_section(evaluation), f"![sounds]({PICTURES}/{pictures['sounds']})", ""]
    if "worst" in pictures:
        lines += ["## Samples with the largest errors", ""]
        lines += [f"![worst]({PICTURES}/{pictures['worst']})", ""]
    return lines[:-1]


def _title(parameter: Parameter) -> str:
    if parameter.is_categorical:
        return f"{parameter.name}: {parameter.num_classes} classes"
    unit = shown_unit(parameter)
    step = f", 1 {parameter.step_name} = {step_text(parameter, unit)}" if parameter.step else ""
    ends = f"{parameter.min:g} to {parameter.max:g} {unit}".strip()
    return f"{parameter.name}: {ends}{step}"


def _confusions(evaluation: Evaluation, parameter: Parameter) -> list[str]:
    """Return the most frequent confusions of classes."""
    counts = _counts(evaluation, parameter)
    wrong = counts - np.diag(np.diag(counts))
    order = np.argsort(-wrong, axis=None, kind="stable")[:CONFUSIONS]
    pairs = [np.unravel_index(place, wrong.shape) for place in order]
    names = parameter.class_names
    lines = [
        f"| {markdown_cell(names[true])} | {markdown_cell(names[taken])} | {wrong[true, taken]} of "
        f"{counts[true].sum()} |"
        for true, taken in pairs
        if wrong[true, taken]
    ]
    return ["| true | taken for | samples |", "|---|---|---:|", *lines, ""] if lines else []


def _counts(evaluation: Evaluation, parameter: Parameter) -> np.ndarray:
    column = evaluation.parameters.index(parameter)
    found = evaluation.found
    return confusion_matrix(parameter, found.true[:, column], found.predicted[:, column])


def _sound_section(evaluation: Evaluation) -> list[str]:
    recipe = evaluation.metadata.recipe or {}
    noise = " The noise of the recipe is on neither side." if recipe.get("noise") else ""
    return [
        "## Sound",
        "",
        f"{evaluation.num_sounds} of the sounds, resynthesised from the predicted values, against "
        f"those of the true values.{noise} docs/evaluation.md defines the distances.",
        "",
        *figure_table(evaluation, sound_figures()),
        "",
        "The same sounds, compared as papers do; docs/trust.md names them:",
        "",
        *figure_table(evaluation, published_figures()),
        "",
    ]


def write_pictures(evaluation: Evaluation, folder: Path) -> dict[str, str]:
    """Draw everything into a folder.

    Returns:
        File names by what they show: a parameter's name, "sounds", "worst" (if there are any).
    """
    folder.mkdir(exist_ok=True)
    found, parameters = evaluation.found, evaluation.parameters
    figures = {
        p.name: head_picture(p, found.true[:, column], found.predicted[:, column])
        for column, p in enumerate(parameters)
    }
    # Names of parameters come from files of anybody's: no path, and none that is used already.
    names = {
        name: f"{k}_{re.sub(r'[^A-Za-z0-9_-]', '_', name)}.png" for k, name in enumerate(figures)
    }
    worst = worst_picture(evaluation.metadata, parameters, found, WORST)
    if worst is not None:
        figures["worst"], names["worst"] = worst, "worst.png"
    if evaluation.distances:
        figures["sounds"], names["sounds"] = sounds_picture(evaluation.distances), "sounds.png"
    for name, figure in figures.items():
        figure.savefig(folder / names[name], dpi=DOTS_PER_INCH, pil_kwargs={"optimize": True})
    return names


def evaluation_json(evaluation: Evaluation, split: str, resamples: int) -> dict[str, object]:
    """Return all of the report as plain containers."""
    return {
        "split": split,
        "num_samples": len(evaluation.found),
        "num_sounds": evaluation.num_sounds,
        "confidence": CONFIDENCE,
        "resamples": resamples,
        "figures": {
            figure.name: {"group": figure.group, "label": figure.label, "unit": figure.unit}
            for figure in evaluation.figures
        },
        "methods": {
            method: {
                figure.name: measured.estimate(figure.name)._asdict()
                for figure in evaluation.figures
            }
            for method, measured in evaluation.measured.items()
        },
        "not_better_than": {
            method: [figure.name for figure in figures]
            for method, figures in evaluation.not_better.items()
        },
        "confusion": {
            p.name: {"classes": list(p.class_names), "counts": _counts(evaluation, p).tolist()}
            for p in evaluation.parameters
            if p.is_categorical
        },
    }

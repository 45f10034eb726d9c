"""Sounds of an evaluation to listen to: the targets, and what the network makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
from jaxtyping import Float32, Integer

from src.evaluation.presentation.image_axes import value_text
from src.evaluation.presentation.page import markdown_cell
from src.evaluation.presentation.pictures import furthest_errors
from src.evaluation.scoring.evaluation import NETWORK, Evaluation
from src.evaluation.scoring.figures import shown_unit
from src.evaluation.scoring.refinement import REFINED
from src.synth.resynthesis import resynthesise, synthesizer_of

HEARD = 6  # samples
LONGEST_S = 4.0
SOUNDS = "sounds"


def heard_samples(evaluation: Evaluation) -> Integer[np.ndarray, "S"]:
    """Choose samples to listen to: some with middling errors, then those with the largest.

    An error is the share of a parameter's range, the largest of all parameters.
    """
    furthest = furthest_errors(evaluation.parameters, evaluation.found)
    order = np.argsort(furthest, kind="stable")
    half = HEARD // 2
    others, largest = np.split(order, [max(len(order) - half, 0)])
    start = max(len(others) - half, 0) // 2
    return np.concatenate([others[start : start + half], largest])


def write_sounds(evaluation: Evaluation, folder: Path) -> list[str]:
    """Write WAV files of some samples: the target and the network's estimate, resynthesised.

    Both are made louder or softer together where one would be clipped. A prediction that is NaN
    is silent.

    Args:
        evaluation: Of a synthesised data set; of others nothing is written.
        folder: Of the report; the files go to ``sounds`` in it.

    Returns:
        The lines of a Markdown table with links to the files; none without sounds.
    """
    synthesizer = synthesizer_of(evaluation.metadata) if evaluation.distances else None
    if synthesizer is None:
        return []
    samples, found, parameters = heard_samples(evaluation), evaluation.found, evaluation.parameters
    rate_hz = synthesizer.sample_rate_hz

    def rendered(values: np.ndarray) -> Float32[np.ndarray, "S T"]:
        columns = {p.name: values[samples, k] for k, p in enumerate(parameters)}
        sounds = np.nan_to_num(resynthesise(synthesizer, columns))
        return sounds[:, : int(LONGEST_S * rate_hz)]

    methods = [m for m in (NETWORK, REFINED) if m in evaluation.predicted]
    sounds = {"target": rendered(found.true)}
    sounds |= {method: rendered(evaluation.predicted[method]) for method in methods}
    loudest = np.max([np.abs(own).max(axis=1) for own in sounds.values()], axis=0)
    (folder / SOUNDS).mkdir(exist_ok=True)
    lines = [f"| sample | {' | '.join(sounds)} | true → {' → '.join(methods)} |"]
    lines += ["|---|" + "---|" * (len(sounds) + 1)]
    for row, sample in enumerate(samples.tolist()):
        links = []
        for kind, own in sounds.items():
            name = f"{SOUNDS}/{row}_{kind}.wav"
            sound = own[row] / max(1.0, float(loudest[row]))
            soundfile.write(folder / name, sound, rate_hz, subtype="PCM_16")
            links.append(f"[{kind}]({name})")
        rows = [found.true, *(evaluation.predicted[method] for method in methods)]
        values = ", ".join(
            f"{p.name} {' → '.join(value_text(p, own[sample, k]) for own in rows)} "
            f"{shown_unit(p)}".rstrip()
            for k, p in enumerate(parameters)
        )
        lines.append(f"| {sample} | {' | '.join(links)} | {markdown_cell(values)} |")
    return lines


def listening_lines(table: Sequence[str]) -> list[str]:
    """Return the section of a report with the sounds; nothing without any."""
    if not table:
        return []
    about = (
        "Resynthesised from the true values, from the network's and from those that were refined, "
        "if any were: first samples with middling errors, then the largest. Only the first "
        f"{LONGEST_S:g} s of each are there."
    )
    return ["## To listen to", "", about, "", *table, ""]

"""What refining adds to a network: fresh sounds of a checkpoint's own synthesiser, refined.

python benchmarks/refining.py CHECKPOINT --sounds 100 --seed 2001
    --start random         without the network: starts are drawn
    --method cma           by the evolution strategy, on spectra
    --change noise_40      what is done to the sounds before (see --help)
    --json refined.json    keeps every sound's figures

Solved is a sound with an NMSE below 1e-9: the mean over all parameters of the squared error in
shares of the range. Seconds are of the processor, on one core.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rootutils
import torch

rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)

from rich.progress import track  # noqa: E402
from rich.table import Table  # noqa: E402

from src.checkpoint import load_model, read_checkpoint  # noqa: E402
from src.evaluation.prediction.predictor import Predictor  # noqa: E402
from src.refining.refiner import RENDERS, Refined, Refiner  # noqa: E402
from src.synth.recipe import Recipe  # noqa: E402
from src.synth.samples import SampleMaker  # noqa: E402
from src.synth.synthesizers import synthesizer_class  # noqa: E402
from src.utils.rich_utils import plain_console, print_table  # noqa: E402
from src.vimh.parameters import ParameterSpace  # noqa: E402

SOLVED = 1e-9
BANDWIDTH_HZ = 4000.0
LONGER = 1.05
Sound = np.ndarray


def sixteen_bits(audio: Sound, rate_hz: int, random: np.random.Generator) -> Sound:
    """The peak at full scale of 16 bits, rounded."""
    scale = 32767.0 / np.abs(audio).max()
    return np.round(audio * scale) / scale


def noisy(snr_db: float) -> Callable[[Sound, int, np.random.Generator], Sound]:
    """White noise so far below the sound's RMS."""

    def add(audio: Sound, rate_hz: int, random: np.random.Generator) -> Sound:
        rms = np.sqrt(np.square(audio).mean()) * 10.0 ** (-snr_db / 20.0)
        return audio + rms * random.standard_normal(len(audio))

    return add


def narrow(audio: Sound, rate_hz: int, random: np.random.Generator) -> Sound:
    """Nothing above 4 kHz."""
    bins = np.fft.rfft(audio)
    bins[np.fft.rfftfreq(len(audio), 1.0 / rate_hz) > BANDWIDTH_HZ] = 0.0
    return np.fft.irfft(bins, len(audio))


def untouched(audio: Sound, rate_hz: int, random: np.random.Generator) -> Sound:
    """The sound itself."""
    return audio


CHANGES: dict[str, Callable[[Sound, int, np.random.Generator], Sound]] = {
    "none": untouched,
    "float64": untouched,  # the others are rounded to float32
    "bits_16": sixteen_bits,
    "noise_60": noisy(60.0),
    "noise_40": noisy(40.0),
    "loss": untouched,  # the plate's decay times are 5 % longer than what refines it believes
    "narrow": narrow,
}


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--sounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=2001, help="of the fresh sounds")
    parser.add_argument("--start", choices=("network", "random"), default="network")
    parser.add_argument("--method", choices=("auto", "least_squares", "cma"), default="auto")
    parser.add_argument("--change", choices=tuple(CHANGES), default="none")
    parser.add_argument("--max-renders", type=int, default=RENDERS)
    parser.add_argument("--json", type=Path, help="where every sound's figures go")
    return parser.parse_args()


def fresh_sounds(
    predictor: Predictor, count: int, seed: int, change: str
) -> tuple[dict[str, np.ndarray], list[Sound]]:
    """True values, and their sounds as float32."""
    recipe = json.loads(json.dumps(predictor.metadata.recipe))
    recipe |= {"seed": seed, "dataset": {**recipe["dataset"], "size": count}}
    recipe["synth"] = synthesizer_class(recipe["synth"]).admitted(recipe["synth"])
    maker = SampleMaker(Recipe.from_mapping(recipe))
    indices = np.arange(count)
    values = maker.values(indices)
    if change == "loss":
        recipe["synth"] |= {key: LONGER * recipe["synth"][key] for key in ("t60_dc_s", "t60_s")}
    synth = Recipe.from_mapping(recipe).build_synthesizer()
    audio = synth.render_float64(values) if synth.is_exact else maker.audio(indices)
    random = np.random.default_rng(seed)
    changed = [CHANGES[change](own, synth.sample_rate_hz, random) for own in audio.astype(float)]
    return values, changed if change == "float64" else [own.astype(np.float32) for own in changed]


def nmse(heads: ParameterSpace, found: dict[str, float], true: dict[str, float]) -> float:
    """The mean squared error in shares of the ranges; of a class 0 or 1."""
    return float(
        np.mean([error_of(p, found[p.name], true[p.name])[0] ** 2 for p in heads.values()])
    )


def error_of(parameter: Any, found: float, true: float) -> tuple[float, float | None]:
    """An error as a share of the range, and in steps where there are any."""
    if parameter.is_categorical:
        return float(round(found) != true), None
    share = parameter.share_of_range(found - true)
    codec = parameter.codec
    steps = abs(codec.error_in_steps(codec.error(found, true))) if parameter.has_jnd else None
    return float(share), steps


def spread_of(predictor: Predictor) -> dict[str, float]:
    """The network's RMS errors by head, as its checkpoint keeps them; {}: it keeps none."""
    calibration = predictor.model.calibration
    return {} if calibration is None else dict(calibration.spread)


def parameter_table(heads: ParameterSpace, rows: list[dict[str, Any]]) -> Table:
    """The mean errors by parameter, before and after."""
    table = Table(title="mean absolute error, and the share within one step")
    table.add_column("parameter", overflow="fold")
    for heading in ("network", "refined", "network within", "refined within"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, parameter in heads.items():
        cells, within = [], []
        for key in ("start", "values"):
            own = [
                error_of(parameter, row[key][name], row["true"][name]) for row in rows if row[key]
            ]
            steps = [s for _, s in own if s is not None]
            shares = np.abs([share for share, _ in own]) if own else np.array([np.nan])
            cells.append(f"{np.mean(steps):.3g} steps" if steps else f"{100 * shares.mean():.3g} %")
            within.append(f"{100 * np.mean(np.array(steps) <= 1 + 1e-6):.1f} %" if steps else "-")
        table.add_row(name, *cells, *within)
    return table


def summary(rows: list[dict[str, Any]], heads: ParameterSpace) -> list[str]:
    """What a page says of all sounds."""
    found = np.array([row["nmse"] for row in rows])
    solved = found < SOLVED
    converged = np.array([row["converged"] for row in rows])
    near = [row["residual"] for row in rows if row["converged"]]
    far = [row["residual"] for row in rows if not row["converged"]]
    seconds = [row["cpu_s"] for row in rows]
    lines = [
        f"solved (NMSE < {SOLVED:g}): {solved.sum()} of {len(rows)}; converged: {converged.sum()}; "
        f"converged and not solved: {(converged & ~solved).sum()}",
        f"NMSE: mean {found.mean():.2g}, median {np.median(found):.2g}"
        + (f", mean of the solved {found[solved].mean():.2g}" if solved.any() else ""),
        f"residual: largest of the converged {max(near, default=np.nan):.2g}, smallest of the "
        f"others {min(far, default=np.nan):.2g}",
        f"seconds: median {np.median(seconds):.2f}, mean {np.mean(seconds):.2f}; renders: median "
        f"{np.median([row['renders'] for row in rows]):.0f}",
    ]
    if rows[0]["start"]:
        before = [nmse(heads, row["start"], row["true"]) for row in rows]
        lines.insert(1, f"NMSE of the network alone: {np.mean(before):.2g}")
    worst = sorted(rows, key=lambda row: row["nmse"])[-5:][::-1]
    named = ", ".join(f"{r['sound']}: {r['nmse']:.1g} ({r['residual']:.1g})" for r in worst)
    return [*lines, f"worst five, sound: NMSE (residual): {named}"]


def main() -> None:
    """Refine fresh sounds, print the tables, and write the JSON."""
    torch.set_num_threads(1)
    args = arguments()
    checkpoint = read_checkpoint(args.checkpoint)
    predictor = Predictor(load_model(checkpoint), checkpoint.metadata)
    assert predictor.synthesizer is not None, "the checkpoint's data set was not synthesised"
    heads = predictor.synthesizer.parameters.heads
    values, sounds = fresh_sounds(predictor, args.sounds, args.seed, args.change)
    refiner = Refiner(
        predictor.synthesizer,
        spread_of(predictor),
        method=args.method,
        max_renders=args.max_renders,
    )
    rows: list[dict[str, Any]] = []
    for number, audio in enumerate(track(sounds, "refining")):
        images, levels = predictor.image_maker(audio[None])
        start = predictor.predict_images(images, levels)[0].values
        true = {name: float(values[name][number]) for name in heads}
        began = time.process_time()
        refined: Refined = refiner(audio, start if args.start == "network" else None)
        seconds = time.process_time() - began
        own = {"sound": number, "true": true, "nmse": nmse(heads, refined.values, true)}
        rows.append({**own, "cpu_s": seconds, **vars(refined)})
        if args.json:
            args.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    console = plain_console()
    print_table(console, parameter_table(heads, rows))
    for line in summary(rows, heads):
        console.print(line, soft_wrap=True)


if __name__ == "__main__":
    main()

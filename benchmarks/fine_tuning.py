"""What the weights of a synthesised string bring to recordings of guitars: docs/fine_tuning.md.

python benchmarks/fine_tuning.py --work FOLDER     (the folder gets sounds, data sets and weights)
    --quick       a few sounds and epochs, whose figures say nothing
    --seeds 4 5   others than 1, 2 and 3
    --longer 2    all trainings on recordings have this many times the epochs

The synthesised sounds are those of `synth=string`. The recordings are notes of a soundfont's four
guitars, in white noise 30 to 60 dB below the peak. Guitar, pitch (anywhere between the keys),
velocity and noise are drawn anew for each note. The notes to test on are drawn in the same way and
train nothing. Of the others each seed draws its own 50, 200 and 1,000, and has weights of its own;
all begin with one model of the string. There is no validation: every training of a size has the
same number of epochs, and its last weights are tested. The folder keeps what was trained, and the
same command goes on where it was stopped.
"""

import argparse
import csv
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import rootutils
import soundfile
import torch

ROOT: Path = rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)

from hydra import compose, initialize_config_dir  # noqa: E402
from omegaconf import DictConfig  # noqa: E402
from rich.progress import track  # noqa: E402
from rich.table import Table  # noqa: E402

from examples.own_sounds import make_notes  # noqa: E402
from src.build import Built, build  # noqa: E402
from src.evaluation.scoring.baselines import nearest_neighbours  # noqa: E402
from src.evaluation.scoring.split_predictions import predict_split, split_arrays  # noqa: E402
from src.fine_tuning import begin  # noqa: E402
from src.training.instantiators import instantiate_trainer  # noqa: E402
from src.utils.rich_utils import plain_console, print_table  # noqa: E402
from src.utils.utils import extras, seed_everything  # noqa: E402

GUITARS = {"nylon": 24, "steel": 25, "jazz": 26, "clean": 27}  # of General MIDI, counted from 0
NOISE_DB = (30.0, 60.0)  # that its RMS lies below the sound's peak
PITCHES, VELOCITIES = (40, 76), (20, 124)  # MIDI: E2 to E5
NEAR = 0.5  # semitones
FOUND = "figures.json"  # in the folder, by the job
KEPT_S = 1.2  # of each note; the images show one second

# Both data sets have these images, and parameters of one name, range and step, so that the heads
# fit too.
STRING = (
    "data=vimh_stk",
    "front_end@data.source.recipe=mel_64",
    "data.source.recipe.image.width=32",
    "data.source.recipe.sample_rate=16000",
    "data.source.recipe.synth.parameters.note_number={min: 40, max: 76, step: 0.5}",
    "data.source.recipe.synth.parameters.note_velocity={min: 20, max: 124, step: 4}",
    "data.train_val_test_split=[0.9,0.0,0.1]",
)
RECORDINGS = (
    "+data.source.image.width=32",
    "data.source.duration=1",
    "+data.source.parameters.note_number={min: 40, max: 76, step: 0.5}",
    "+data.source.parameters.note_velocity={min: 20, max: 124, step: 4}",
)
QUIET = (
    "trainer.accelerator=cpu",
    "trainer.limit_val_batches=0",
    "trainer.enable_progress_bar=false",
    "trainer.enable_model_summary=false",
)
FROM_NOTHING = "from nothing"
STARTS: Mapping[str, Sequence[str]] = {  # what it is called, and the layers that are frozen
    FROM_NOTHING: (),
    "init_from": (),
    "init_from, both blocks frozen": ("block1", "block2"),
}
AS_IT_IS = "the string's model as it is"
NEAREST = "nearest image"


class Job(NamedTuple):
    """A training on recordings."""

    recordings: int  # as the table says
    start: str
    seed: int
    drawn: int  # recordings that standardise the levels, even where none trains
    epochs: int


@dataclass(frozen=True)
class Plan:
    """How much is made and trained."""

    string_sounds: int = 4096
    string_epochs: int = 20
    recordings: int = 2000  # that those to train on are drawn from
    test_recordings: int = 500
    epochs: Mapping[int, int] = field(default_factory=lambda: {50: 200, 200: 120, 1000: 40})
    seeds: Sequence[int] = (1, 2, 3)

    @property
    def jobs(self) -> list["Job"]:
        """What is trained on recordings, the string's model as it is before all."""
        most = max(self.epochs)
        as_it_is = [Job(0, AS_IT_IS, seed, most, 0) for seed in self.seeds]
        return as_it_is + [
            Job(count, start, seed, count, epochs)
            for seed in self.seeds
            for count, most_epochs in self.epochs.items()
            for start, epochs in ((NEAREST, 0), *((name, most_epochs) for name in STARTS))
        ]

    def shares(self, count: int) -> tuple[float, float, float]:
        """The split that trains on so many recordings; what is left would validate."""
        return count / self.recordings, 1 - count / self.recordings, 0.0


QUICK = Plan(64, 1, 40, 10, {10: 1, 20: 1}, (1, 2))


@dataclass(frozen=True)
class Figures:
    """Errors on the recordings to test on."""

    pitch: float  # mean absolute error, semitones
    near: float  # share of pitches within half a semitone, %
    velocity: float  # mean absolute error

    @classmethod
    def of(cls, error: np.ndarray, heads: Sequence[str]) -> "Figures":
        """Compute them of errors (N, P) in units, whose columns are the heads."""
        own = dict(zip(heads, np.abs(error).T, strict=True))
        pitch = own["note_number"]
        near = 100 * float((pitch <= NEAR).mean())
        return cls(float(pitch.mean()), near, float(own["note_velocity"].mean()))


def draw_notes(count: int, seed: int) -> list[tuple[str, float, int]]:
    """Guitars, pitches, and velocities."""
    random = np.random.default_rng(seed)
    guitars = random.choice(list(GUITARS), count)
    pitches = random.uniform(*PITCHES, count).round(4)
    velocities = random.integers(*VELOCITIES, count, endpoint=True)
    return [(str(guitars[k]), float(pitches[k]), int(velocities[k])) for k in range(count)]


def in_noise(sound: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """One channel of a sound's beginning, with white noise."""
    mono = sound[: round(KEPT_S * make_notes.RATE_HZ)]
    mono = mono if mono.ndim == 1 else mono.mean(axis=1)
    rms = np.abs(mono).max() * 10 ** (-random.uniform(*NOISE_DB) / 20)
    return mono + rms * random.standard_normal(len(mono))


def find_player() -> Path | None:
    """The soundfont that FluidSynth plays; None: NumPy stands in for them."""
    return make_notes.find_soundfont() if shutil.which("fluidsynth") else None


def record(folder: Path, plan: Plan, soundfont: Path | None) -> None:
    """Write notes, those to test on last, and labels.csv; nothing where that was done."""
    if (folder / "labels.csv").is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    notes = draw_notes(plan.recordings + plan.test_recordings, seed=0)
    number = {note: k for k, note in enumerate(notes)}  # none is drawn twice
    played = make_notes.sounds_of(notes, GUITARS, soundfont)
    for note, sound in track(played, "playing", len(notes)):
        k = number[note]
        heard = in_noise(sound, np.random.default_rng([1, k]))
        soundfile.write(folder / f"{k:05d}.wav", heard, make_notes.RATE_HZ, subtype="PCM_16")
    with (folder / "labels.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file", "note_number", "note_velocity", "split"])
        for k, (_, pitch, velocity) in enumerate(notes):
            split = "train" if k < plan.recordings else "test"
            rows.writerow([f"{k:05d}.wav", pitch, velocity, split])


@dataclass(frozen=True)
class Bench:
    """Trains in a folder that has the recordings."""

    work: Path
    plan: Plan

    def built(self, words: Sequence[str], seed: int, epochs: int) -> tuple[DictConfig, Built]:
        """Build what a command line says.

        Args:
            words: Of the command line.
            seed: Of weights, order, and the choice of recordings.
            epochs: How many it will have.
        """
        given = [
            "experiment=recordings_cnn",
            *QUIET,
            *words,
            f"seed={seed}",
            f"data.seed={seed}",
            "data.batch_size=32",
            f"trainer.max_epochs={max(1, epochs)}",
            f"paths.root_dir={ROOT}",
            f"paths.work_dir={ROOT}",
            f"paths.vimh_dir={self.work}",
            f"paths.output_dir={self.work}",
        ]
        with initialize_config_dir(version_base="1.3", config_dir=str(ROOT / "configs")):
            cfg = compose("train", given)
        extras(cfg)
        seed_everything(seed)
        return cfg, build(cfg)

    def string_model(self) -> Path:
        """Train on synthesised strings, unless that was done; return the checkpoint."""
        path = self.work / "string.ckpt"
        if not path.is_file():
            size = f"data.source.recipe.dataset.size={self.plan.string_sounds}"
            cfg, built = self.built([*STRING, size], 1, self.plan.string_epochs)
            trainer = instantiate_trainer(cfg.trainer)
            trainer.fit(built.model, datamodule=built.datamodule, weights_only=True)
            trainer.save_checkpoint(path, weights_only=False)
        return path

    def on_recordings(self, job: Job, weights: Path) -> Figures:
        """Train on recordings that the seed draws, and test."""
        words = [
            *RECORDINGS,
            f"data.source.folder={self.work / 'guitars'}",
            f"data.source.labels={self.work / 'guitars' / 'labels.csv'}",
            f"data.train_val_test_split={[*self.plan.shares(job.drawn)]}",
            f"model.freeze=[{','.join(STARTS.get(job.start, ()))}]",
        ]
        if job.start not in (FROM_NOTHING, NEAREST):
            words.append(f"model.init_from={weights}")
        cfg, built = self.built(words, job.seed, job.epochs)
        model, data = built.model, built.datamodule
        trainer = instantiate_trainer(cfg.trainer, begin(cfg, model))
        if job.epochs > 0:
            trainer.fit(model, datamodule=data, weights_only=True)
        model.cpu().eval()
        found = predict_split(model, data, "test")
        assert found is not None
        predicted = found.predicted
        if job.start == NEAREST:
            known = split_arrays(model, data, "train")
            predicted = nearest_neighbours(known.inputs, known.true, found.inputs, 1)
        return Figures.of(predicted - found.true, list(model.parameters_by_head))

    def all_figures(self, found: dict[str, dict[str, float]]) -> Iterator[tuple[Job, Figures]]:
        """Yield every job's figures; those that are not found are trained, and written."""
        weights = self.string_model()
        for job in self.plan.jobs:
            key = json.dumps(job)
            if key not in found:
                found[key] = asdict(self.on_recordings(job, weights))
                (self.work / FOUND).write_text(json.dumps(found, indent=1) + "\n")
            yield job, Figures(**found[key])


def cell(values: Sequence[float], digits: int) -> str:
    """Mean and standard deviation of the seeds; of one alone its figure."""
    mean = f"{np.mean(values):.{digits}f}"
    return f"{mean} ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else mean


def table_of(found: Mapping[tuple[int, str], Sequence[Figures]], title: str) -> Table:
    """One row for a number of recordings and a way to begin."""
    table = Table(title=title)
    table.add_column("recordings", overflow="fold")
    table.add_column("start", overflow="fold")
    for heading in ("pitch MAE, semitones", "within 0.5, %", "velocity MAE"):
        table.add_column(heading, justify="right", no_wrap=True)
    for (count, start), of_seeds in sorted(found.items(), key=lambda item: item[0][0]):
        columns = zip(*map(astuple, of_seeds), strict=True)
        cells = (cell(values, d) for values, d in zip(columns, (2, 1, 1), strict=True))
        table.add_row(f"{count:,}", start, *cells)
    return table


def measure(work: Path, plan: Plan) -> None:
    """Make and train everything, with a progress bar, and print the table."""
    console = plain_console()
    soundfont = find_player()
    record(work / "guitars", plan, soundfont)
    earlier = work / FOUND
    before = json.loads(earlier.read_text()) if earlier.is_file() else {}
    found: dict[tuple[int, str], list[Figures]] = {}
    jobs = Bench(work, plan).all_figures(before)
    for job, figures in track(jobs, "training", len(plan.jobs), console=console):
        found.setdefault((job.recordings, job.start), []).append(figures)
    player = "NumPy" if soundfont is None else soundfont.name
    title = f"{plan.test_recordings} recordings to test on ({player}), {len(plan.seeds)} seeds"
    print_table(console, table_of(found, title))
    console.print(f"sounds, data sets and the string's model: {work}", soft_wrap=True)


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, help="default: a temporary folder")
    parser.add_argument("--quick", action="store_true", help="figures that say nothing")
    parser.add_argument("--longer", type=int, default=1, help="factor of the epochs (default: 1)")
    parser.add_argument("--seeds", type=int, nargs="+", help="default: 1 2 3")
    given = parser.parse_args(argv)
    torch.set_num_threads(1)
    plan = QUICK if given.quick else Plan()
    longer = {count: given.longer * epochs for count, epochs in plan.epochs.items()}
    plan = replace(plan, epochs=longer, seeds=given.seeds or plan.seeds)
    measure((given.work or Path(tempfile.mkdtemp())).resolve(), plan)


if __name__ == "__main__":
    main()

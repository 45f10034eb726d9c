"""Measure a checkpoint's intervals and its sign of unlike sounds, as docs/trust.md reports them.

usage: python scripts/measure_trust.py CHECKPOINT DATASET [NAME=FOLDER …] [--make FOLDER]

CHECKPOINT is calibrated anew, in memory, on the validation split of DATASET, and judged on its test
split. Each NAME=FOLDER is a folder of foreign sounds; white noise, and the sounds of the project's
own synthesisers of the same sample rate, are always tried. `--make FOLDER` writes three folders of
foreign sounds first: speech (espeak-ng), notes (fluidsynth with a General MIDI sound font) and
drums (Hydrogen's drum kits), by Debian's packages espeak-ng, fluidsynth, fluid-soundfont-gm and
hydrogen-drumkits.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import rootutils
import soundfile
import torch
from hydra import compose, initialize_config_dir
from jaxtyping import Float, Float32
from omegaconf import OmegaConf
from scipy.stats import rankdata

ROOT = rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)

from src.build import CHECKPOINT_DATA_KEYS  # noqa: E402
from src.calibrating import calibrate  # noqa: E402
from src.calibration.unlike import P_UNLIKE, Unlike  # noqa: E402
from src.checkpoint import load_model, read_checkpoint  # noqa: E402
from src.data.vimh_datamodule import VIMHDataModule  # noqa: E402
from src.evaluation.prediction.predictor import Predictor  # noqa: E402
from src.evaluation.prediction.sounds import sound_files, windows  # noqa: E402
from src.evaluation.presentation.coverage_section import confidences_table  # noqa: E402
from src.evaluation.scoring.coverage import coverages_of, seen_batches  # noqa: E402
from src.models.intervals import adopt, outputs_and_features  # noqa: E402
from src.models.multihead_module import MultiheadLitModule  # noqa: E402
from src.recordings.sounds import read_sound  # noqa: E402
from src.synth.draws import derived  # noqa: E402
from src.synth.recipe import Recipe  # noqa: E402
from src.synth.resynthesis import resynthesise  # noqa: E402
from src.synth.samples import drawn  # noqa: E402
from src.synth.synthesizers import Synthesizer  # noqa: E402
from src.vimh.errors import VIMHError  # noqa: E402

COUNT = 100  # foreign sounds of each kind
RECIPES = ("simple", "simple_3p", "simple_wide", "resonator", "moog_basic", "moog_envelope", "stk")
SOUND_FONT = "/usr/share/sounds/sf2/FluidR3_GM.sf2"
KITS = Path("/usr/share/hydrogen/data/drumkits")
NOTE_S = 3.0
TEXT = (
    "the water was very long ago and only some people could find a way down into each little sound "
    "which they had made out of many other things than time before there were any at all"
)
VOICES = ("en", "en-us", "de", "fr", "it", "es", "sv", "pl", "nl", "pt")


def make_speech(folder: Path, rng: np.random.Generator) -> None:
    """Write sentences of random words by ten languages' voices."""
    for number in range(COUNT):
        voice = VOICES[number % len(VOICES)] + ("", "+f2", "+m3", "+f4")[number % 4]
        pitch, speed = rng.integers(20, 90), rng.integers(120, 220)
        words = ["-v", voice, "-p", str(pitch), "-s", str(speed)]
        path = folder / f"{number:03d}.wav"
        said = " ".join(rng.choice(TEXT.split(), 6))
        subprocess.run(["espeak-ng", *words, "-w", str(path), said], check=True)


def make_notes(folder: Path, rng: np.random.Generator) -> None:
    """Write a note each of instruments from all of General MIDI, by a MIDI file of one track."""

    def after(ticks: int, *event: int) -> bytes:
        return bytes([0x80 | ticks >> 7, ticks & 0x7F, *event])  # 480 ticks are half a second

    track = b""
    for number in range(COUNT):
        note, velocity = int(rng.integers(36, 85)), int(rng.integers(50, 127))
        track += after(0, 0xC0, number * 128 // COUNT) + after(0, 0x90, note, velocity)
        track += after(4 * 480, 0x80, note, 0) + after(2 * 480, 0xB0, 120, 0)
    track += after(0, 0xFF, 0x2F, 0)
    header = b"MThd" + bytes([0, 0, 0, 6, 0, 0, 0, 1, 1, 224])
    midi, wav = folder / "notes.mid", folder / "all.wav"
    midi.write_bytes(header + b"MTrk" + len(track).to_bytes(4, "big") + track)
    words = ["-ni", "-R", "0", "-C", "0", "-g", "0.6", "-r", "22050", "-F", str(wav)]
    subprocess.run(["fluidsynth", *words, SOUND_FONT, str(midi)], check=True, capture_output=True)
    audio, rate = soundfile.read(wav)
    for path in (midi, wav):
        path.unlink()
    length = int(NOTE_S * rate)
    for number in range(COUNT):
        piece = audio[number * length : (number + 1) * length].mean(axis=1)
        if np.abs(piece).max() > 1e-3:
            soundfile.write(folder / f"{number:03d}.wav", piece, rate)


def make_drums(folder: Path, rng: np.random.Generator) -> None:
    """Choose strokes of Hydrogen's kits."""
    files = sorted(p for p in KITS.rglob("*") if p.suffix.lower() in (".flac", ".wav"))
    for number, chosen in enumerate(rng.choice(len(files), COUNT, replace=False)):
        path = folder / f"{number:03d}{files[chosen].suffix.lower()}"
        path.write_bytes(files[chosen].read_bytes())


def make_sounds(folder: Path) -> dict[str, Path]:
    """Write the folders of foreign sounds."""
    makers = {"speech": make_speech, "notes": make_notes, "drums": make_drums}
    for number, (name, make) in enumerate(makers.items()):
        (folder / name).mkdir(parents=True, exist_ok=True)
        make(folder / name, np.random.default_rng(number))
    return {name: folder / name for name in makers}


class Judge:
    """Distances from the training sounds, of a calibrated model."""

    def __init__(self, model: MultiheadLitModule, predictor: Predictor, unlike: Unlike) -> None:
        self.model, self.predictor, self.unlike = model, predictor, unlike
        front_end = predictor.image_maker.front_end
        self.rate_hz, self.quietest = front_end.sample_rate_hz, 10 ** (front_end.floor_db / 20)
        self.length = front_end.heard_samples(predictor.metadata.duration or 0.0)

    def heard(self, folder: Path) -> Iterator[Float32[np.ndarray, "*S T"]]:
        """Yield the first window of each sound of a folder."""
        how = self.predictor.listening
        for path in sound_files(folder)[:COUNT]:
            try:
                audio = read_sound(path, self.rate_hz, how, self.quietest).audio
                yield windows(audio, self.length, self.rate_hz, start=how.start).audio[0]
            except VIMHError as error:
                print(f"left out: {error}")

    @torch.no_grad()
    def distances(
        self, sounds: Float32[np.ndarray, "N *S T"]
    ) -> tuple[Float[np.ndarray, "N"], Float[np.ndarray, "N"]]:
        """Return the distances and p-values of sounds of the model's length and rate."""
        images, scale_factors = self.predictor.image_maker(sounds)
        prepared, auxiliary = self.model.required_preparation(
            torch.from_numpy(images), torch.from_numpy(scale_factors)
        )
        _, features = outputs_and_features(self.model, prepared, auxiliary)
        seen = (prepared, features.float(), auxiliary)
        return self.unlike.distance(*seen).numpy(), self.unlike(*seen).numpy()


def own_synthesizers(rate_hz: int) -> dict[str, Synthesizer]:
    """Build the synthesisers of the project's recipes that have a sample rate."""
    found = {}
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        for name in RECIPES:
            cfg = compose("train", ["data=vimh_simple_wide", f"recipe@data.source.recipe={name}"])
            recipe = OmegaConf.to_container(cfg.data.source.recipe, resolve=True)
            assert isinstance(recipe, dict)
            made = Recipe.from_mapping({str(k): v for k, v in recipe.items()}).build_synthesizer()
            if made.sample_rate_hz == rate_hz:
                found[f"recipe {name}"] = made
    return found


def rendered(synthesizer: Synthesizer, length: int) -> Float32[np.ndarray, "N T"]:
    """Render sounds at random, padded or cut to a length."""
    space = synthesizer.draws or synthesizer.parameters
    u = np.random.default_rng(0).random((COUNT, len(space.heads)))
    values = {name: drawn(p, u[:, k]) for k, (name, p) in enumerate(space.heads.items())}
    if synthesizer.draws:
        fixed = {name: np.full(COUNT, p.min) for name, p in space.fixed.items()}
        values = derived(synthesizer, {**values, **fixed})
    audio = resynthesise(synthesizer, values)[:, :length]
    return np.pad(audio, ((0, 0), (0, length - audio.shape[1])))


def auroc(own: Float[np.ndarray, "N"], foreign: Float[np.ndarray, "M"]) -> float:
    """Return the probability that a foreign distance is the larger one: Mann and Whitney's U."""
    ranks = rankdata(np.concatenate([own, foreign]))[len(own) :]
    return float((ranks.sum() - len(foreign) * (len(foreign) + 1) / 2) / len(own) / len(foreign))


def foreign_sounds(
    judge: Judge, folders: Mapping[str, Path]
) -> Iterator[tuple[str, Float32[np.ndarray, "N *S T"]]]:
    """Yield all foreign sounds by name."""
    for name, folder in folders.items():
        yield name, np.stack(list(judge.heard(folder)))
    rng = np.random.default_rng(0)
    loud = 10 ** rng.uniform(-2, -0.7, (COUNT, 1))
    yield "white noise", (loud * rng.standard_normal((COUNT, judge.length))).astype(np.float32)
    for name, synthesizer in own_synthesizers(judge.rate_hz).items():
        yield name, rendered(synthesizer, judge.length)


def main(checkpoint_path: str, dataset: str, folders: Mapping[str, Path]) -> None:
    """Print the tables of one model in Markdown."""
    checkpoint = read_checkpoint(checkpoint_path)
    model = load_model(checkpoint)
    settings = {key: checkpoint.data.get(key) for key in CHECKPOINT_DATA_KEYS}
    datamodule = VIMHDataModule(dataset, **settings)
    datamodule.setup()
    began = time.perf_counter()
    calibration = calibrate(model, datamodule)
    took = time.perf_counter() - began
    adopt(model, calibration)
    print(f"\n## {checkpoint.metadata.dataset_name}: {calibration.count} validation samples")
    print(f"\ncalibrated in {took:.1f} s\n")
    print("\n".join(confidences_table(coverages_of(model, datamodule, "test"))))
    unlike = calibration.unlike(model.required_preparation.image_shape)
    assert unlike is not None
    own, alarms = [], []
    for seen in seen_batches(model, datamodule, "test"):
        what = (seen.images, seen.features, seen.auxiliary)
        own.append(unlike.distance(*what).numpy())
        alarms.append(unlike(*what).numpy() < P_UNLIKE)
    print(f"\nfalse alarms: {100 * np.concatenate(alarms).mean():.1f} % of {sum(map(len, own))}")
    if checkpoint.metadata.sample_rate is None:
        return
    print(f"\n| foreign | sounds | AUROC | p < {P_UNLIKE:g} |\n|---|---:|---:|---:|")
    judge = Judge(model, Predictor(model, checkpoint.metadata), unlike)
    for name, sounds in foreign_sounds(judge, folders):
        far, p = judge.distances(sounds)
        share = 100 * float((p < P_UNLIKE).mean())
        print(f"| {name} | {len(far)} | {auroc(np.concatenate(own), far):.3f} | {share:.0f} % |")


if __name__ == "__main__":
    words = sys.argv[1:]
    named = {}
    if "--make" in words:
        place = words.index("--make")
        named = make_sounds(Path(words[place + 1]))
        del words[place : place + 2]
    named |= {name: Path(path) for name, _, path in (word.partition("=") for word in words[2:])}
    if len(words) < 2:
        sys.exit(__doc__.strip())
    main(*words[:2], named)

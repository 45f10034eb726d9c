#!/usr/bin/env python
"""Write a folder of notes with a table of labels, as somebody's own recordings would be.

usage: python examples/own_sounds/make_notes.py FOLDER [--notes 1500] [--seed 1] [--nsynth]

The notes are of General MIDI instruments, played by the program `fluidsynth` with a soundfont
(Debian: fluidsynth, timgm6mb-soundfont). Where one of them is missing, a few lines of NumPy stand
in for them, and the last line says so. FOLDER gets WAV files and labels.csv: file, pitch (MIDI
number), velocity, instrument, and group: notes of one instrument and pitch belong together. With
--nsynth other instruments play, and the files are named as those of the NSynth data set, such as
bass_synthetic_038-022-050.wav (family, source, number, pitch, velocity); there is no table then.
"""

import argparse
import csv
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import soundfile

RATE_HZ = 44100
PROGRAMS = {
    "vibraphone": 11,
    "guitar": 24,
    "pizzicato": 45,
    "trumpet": 56,
    "clarinet": 71,
    "flute": 73,
}
NSYNTH = {  # family_source_number
    "keyboard_acoustic_000": 0,
    "keyboard_electronic_004": 4,
    "mallet_acoustic_012": 12,
    "organ_electronic_016": 16,
    "guitar_acoustic_025": 25,
    "guitar_electronic_027": 27,
    "bass_synthetic_038": 38,
    "string_acoustic_045": 45,
    "brass_acoustic_056": 56,
    "brass_acoustic_060": 60,
    "reed_acoustic_071": 71,
    "flute_acoustic_073": 73,
}
PITCHES = (48, 84)  # C3 to C6
VELOCITIES = (20, 127)
HELD_S, SPACED_S, BEFORE_S = 1.0, 1.5, 0.05  # note on to note off, to the next note; file before it
QUIET_S = 2 * BEFORE_S  # before the next note, the ringing of the last one is cut
TICKS_A_SECOND = 1000
BEND_SEMITONES = 2  # the pitch wheel's way up or down where nothing else was said
SOUNDFONTS = ("TimGM6mb.sf2", "default-GM.sf2", "FluidR3_GM.sf2")
FOLDERS = ("/usr/share/sounds/sf2", "/usr/share/soundfonts", "/opt/homebrew/share/soundfonts")


def draw_notes(count: int, seed: int, names: Iterable[str]) -> list[tuple[str, int, int]]:
    """Instrument, pitch and velocity of each note; none twice."""
    rng = np.random.default_rng(seed)
    every = [
        (name, pitch, velocity)
        for name in names
        for pitch in range(PITCHES[0], PITCHES[1] + 1)
        for velocity in range(VELOCITIES[0], VELOCITIES[1] + 1)
    ]
    return [every[k] for k in sorted(rng.choice(len(every), count, replace=False))]


def variable_length(value: int) -> bytes:
    """A number as MIDI files write it: seven bits a byte, the highest bit says that more follow."""
    found = bytes([value & 127])
    while value := value >> 7:
        found = bytes([value & 127 | 128]) + found
    return found


def wheel_and_key(pitch: float) -> tuple[bytes, int]:
    """The pitch wheel's message that bends the nearest key to a pitch, and that key."""
    key = round(pitch)
    wheel = round(8192 * (1 + (pitch - key) / BEND_SEMITONES))
    return bytes([0xE0, wheel & 127, wheel >> 7]), key


def midi_file(program: int, notes: Sequence[tuple[str, float, int]]) -> bytes:
    """A MIDI file of one track that plays the notes one after the other."""
    tempo = b"\x00\xff\x51\x03" + struct.pack(">I", 1_000_000)[1:]  # a quarter note is one second
    events = tempo + bytes([0, 0xC0, program])
    wait = 0
    for _, pitch, velocity in notes:
        wheel, key = wheel_and_key(pitch)
        events += variable_length(wait) + wheel + bytes([0, 0x90, key, velocity])
        events += variable_length(round(HELD_S * TICKS_A_SECOND)) + bytes([0x80, key, 0])
        events += variable_length(round((SPACED_S - HELD_S - QUIET_S) * TICKS_A_SECOND))
        events += bytes([0xB0, 120, 0])  # all sound off
        wait = round(QUIET_S * TICKS_A_SECOND)
    events += variable_length(2000) + b"\xff\x2f\x00"
    header = b"MThd" + struct.pack(">IHHH", 6, 0, 1, TICKS_A_SECOND)
    return header + b"MTrk" + struct.pack(">I", len(events)) + events


def find_soundfont() -> Path | None:
    """The first soundfont that Debian's and others' packages install."""
    places = (Path(folder) / name for name in SOUNDFONTS for folder in FOLDERS)
    return next((place for place in places if place.is_file()), None)


def play(
    soundfont: Path, program: int, notes: Sequence[tuple[str, float, int]]
) -> list[np.ndarray]:
    """The notes by FluidSynth, without reverb and chorus; stereo."""
    with tempfile.TemporaryDirectory() as folder:
        midi, wav = Path(folder, "notes.mid"), Path(folder, "notes.wav")
        midi.write_bytes(midi_file(program, notes))
        options = ["-q", "-n", "-i", "-R", "0", "-C", "0", "-g", "0.6", "-r", str(RATE_HZ)]
        command = ["fluidsynth", *options, "-F", str(wav), str(soundfont), str(midi)]
        subprocess.run(command, check=True, capture_output=True)
        sound = soundfile.read(wav, dtype="float32")[0]
    before = np.zeros((round(BEFORE_S * RATE_HZ), 2), np.float32)
    sound = np.concatenate([before, sound])
    length = round(SPACED_S * RATE_HZ)
    return [sound[k * length : (k + 1) * length] for k in range(len(notes))]


def stand_in(program: int, notes: Sequence[tuple[str, float, int]]) -> list[np.ndarray]:
    """Decaying partials whose number grows with the velocity; each instrument has its own mix."""
    rng = np.random.default_rng(program)
    levels = rng.uniform(0.2, 1.0, 12) / np.arange(1, 13)
    decay_s = rng.uniform(0.3, 1.5)
    time_s = np.arange(round((SPACED_S - BEFORE_S) * RATE_HZ)) / RATE_HZ
    before = np.zeros(round(BEFORE_S * RATE_HZ), np.float32)
    sounds = []
    for _, pitch, velocity in notes:
        sound = np.zeros_like(time_s)
        for partial, level in enumerate(levels, start=1):
            frequency_hz = partial * 440.0 * 2 ** ((pitch - 69) / 12)
            if frequency_hz < 0.45 * RATE_HZ:
                loudness = level * (velocity / 127) ** (1 + 0.3 * partial)
                sound += loudness * np.sin(2 * np.pi * frequency_hz * time_s)
        sound *= 0.3 * np.exp(-time_s / decay_s)
        sounds.append(np.concatenate([before, sound.astype(np.float32)]))
    return sounds


def sounds_of(
    notes: Sequence[tuple[str, float, int]], programs: Mapping[str, int], soundfont: Path | None
) -> Iterable[tuple[tuple[str, float, int], np.ndarray]]:
    """Yield each note with its sound, an instrument after the other."""
    for name, program in programs.items():
        own = [note for note in notes if note[0] == name]
        sounds = stand_in(program, own) if soundfont is None else play(soundfont, program, own)
        yield from zip(own, sounds, strict=True)


def make_notes(folder: Path, count: int, seed: int, nsynth: bool = False) -> str:
    """Write the notes and their table, or with `nsynth` the notes under names that say all.

    Returns:
        What played them.
    """
    soundfont = find_soundfont() if shutil.which("fluidsynth") else None
    folder.mkdir(parents=True, exist_ok=True)
    programs = NSYNTH if nsynth else PROGRAMS
    rows = [["file", "pitch", "velocity", "instrument", "group"]]
    drawn = draw_notes(count, seed, programs)
    for (name, pitch, velocity), sound in sounds_of(drawn, programs, soundfont):
        path = (
            f"{name}{'-' if nsynth else '/'}{pitch:03d}{'-' if nsynth else '_'}{velocity:03d}.wav"
        )
        (folder / path).parent.mkdir(exist_ok=True)
        soundfile.write(folder / path, sound, RATE_HZ, subtype="PCM_16")
        rows.append([path, str(pitch), str(velocity), name, f"{name} {pitch}"])
    if not nsynth:
        with (folder / "labels.csv").open("w", newline="") as file:
            csv.writer(file).writerows(rows)
    if soundfont is None:
        return "NumPy, because there is no fluidsynth or no soundfont here"
    return f"FluidSynth with {soundfont}"


def main() -> None:
    """The command line."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--notes", type=int, default=1500, help="how many (default: 1500)")
    parser.add_argument("--seed", type=int, default=1, help="of the choice (default: 1)")
    parser.add_argument("--nsynth", action="store_true", help="names as NSynth has them, no table")
    given = parser.parse_args()
    most = (
        len(NSYNTH if given.nsynth else PROGRAMS)
        * (PITCHES[1] - PITCHES[0] + 1)
        * (VELOCITIES[1] - VELOCITIES[0] + 1)
    )
    if not 1 <= given.notes <= most:
        sys.exit(f"make_notes.py: --notes is {given.notes}; expected 1 to {most}")
    player = make_notes(given.folder, given.notes, given.seed, given.nsynth)
    table = "" if given.nsynth else " and labels.csv"
    print(f"wrote {given.notes} notes{table} to {given.folder}, played by {player}")


if __name__ == "__main__":
    main()

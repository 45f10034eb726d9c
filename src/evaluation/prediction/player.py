"""Sounds through the system's player."""

import os
import shutil
import subprocess
from pathlib import Path

from src.vimh.errors import VIMHError

# What plays a WAV file, whichever is there: ALSA, PulseAudio, PipeWire, macOS, ffmpeg, SoX.
PLAYERS = (
    ("aplay", "-q"),
    ("paplay",),
    ("pw-play",),
    ("afplay",),
    ("ffplay", "-nodisp", "-autoexit", "-loglevel", "error"),
    ("play", "-q"),
)


def find_player() -> tuple[str, ...]:
    """Return the command that plays a file, without the file.

    Raises:
        VIMHError: if there is none of those that are known.
    """
    for words in PLAYERS:
        if shutil.which(words[0]):
            return words
    raise VIMHError(
        f"playing needs one of {', '.join(words[0] for words in PLAYERS)}, and none is there"
    )


def play_file(path: Path) -> None:
    """Play a sound file to its end.

    Raises:
        VIMHError: if there is no player, or it fails; with what it says.
    """
    player = find_player()
    done = subprocess.run(
        [*player, os.path.abspath(path)],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        why = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[0]
        raise VIMHError(f"{player[0]} could not play {path}: {why}")

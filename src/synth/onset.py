"""Where a sound begins in a recording; needs NumPy alone.

Prediction and training data of recordings find the beginning by this one function, so that a
network hears a sound where its training sounds began.
"""

import numpy as np
from jaxtyping import Float

ONSET_DB = -40.0  # of the peak: the first sample that loud belongs to the sound
ATTACK_S = 0.003  # a sound that is loud so soon after silence, or after the start, began there


def onset(
    audio: Float[np.ndarray, "T"], sample_rate_hz: int, quietest: float = 0.0, lead_s: float = 0.0
) -> int:
    """Return the sample at which a sound begins.

    A sound begins with the first sample within 40 dB of its peak. Where the sound rises out of
    silence, or from the file's first sample, to that level within 3 ms, it begins there: a wave
    keeps the quiet samples that it starts with. The last silent sample counts as the first of the
    sound, since a wave that starts from rest starts with a zero.

    Recordings have no silence to rise from: with a lead, a sound begins that much before the first
    sample within 40 dB of its peak, or with the file. An amplitude of `quietest` still counts as
    silence; the beginning of silence is 0.

    Example:
        >>> wave = np.sin(np.arange(800) / 10)
        >>> onset(wave, 8000), onset(np.concatenate([np.zeros(400), wave]), 8000)
        (0, 400)
    """
    level = np.abs(audio)
    peak = float(level.max(initial=0.0))
    if peak <= quietest:
        return 0
    loud = int(np.argmax(level >= peak * 10.0 ** (ONSET_DB / 20.0)))
    if lead_s > 0:
        return max(0, loud - round(lead_s * sample_rate_hz))
    heard = int(np.argmax(level > quietest))
    begin = heard - 1 if heard > 1 else 0
    return begin if loud - begin <= ATTACK_S * sample_rate_hz else loud

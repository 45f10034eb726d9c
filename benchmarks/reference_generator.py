"""The plain way to make the `simple` and `moog_basic` data sets: one sample at a time, float64.

It is what the generator's speed and its pixels are compared with, and shares no code with it:
written from docs and specification only, for readers. It returns the bytes of the records.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np


def reference_values(recipe: Mapping[str, Any], index: int) -> dict[str, float]:
    """The parameters of sample `index` of the random samples."""
    bits = np.random.Philox(key=np.array([recipe["seed"], 0], dtype=np.uint64))
    varying = {n: p for n, p in recipe["synth"]["parameters"].items() if p["min"] != p["max"]}
    bits.advance(index * -(-len(varying) // 4))
    u = np.random.Generator(bits).random(len(varying))
    values = {n: p["min"] for n, p in recipe["synth"]["parameters"].items()}
    for x, (name, p) in zip(u, varying.items(), strict=True):
        values[name] = p["min"] + x * (p["max"] - p["min"])
    return values


def reference_sound(values: Mapping[str, float], rate: int, num_samples: int) -> np.ndarray:
    """The decaying sawtooth, computed in float64, with float32 values as WAV files have them."""
    t = np.arange(num_samples) / rate
    p = 440.0 * 2.0 ** ((values["note_number"] - 69.0) / 12.0) * t - 0.5
    envelope = np.exp(-t / 10.0 ** values["log10_decay_time"])
    sound = values["note_velocity"] / 127.0 * envelope * (2.0 * (p - np.floor(p)) - 1.0)
    return sound.astype(np.float32).astype(np.float64)


def reference_moog_sound(values: Mapping[str, float], rate: int, num_samples: int) -> np.ndarray:
    """The sawtooth through the ladder without an envelope, number by number in plain floats."""
    note_hz = 440.0 * 2.0 ** ((values["note_number"] - 69.0) / 12.0)
    f = min(10.0 ** values["log10_cutoff"], 0.45 * rate) / rate
    tuning = 1.8730 * f**3 + 0.4955 * f**2 - 0.6490 * f + 0.9988
    g = 1.0 - math.exp(-math.pi * f * tuning)
    half_k = 2.0 * values["resonance"] * (-3.9364 * f**2 + 1.8409 * f + 0.9968)
    amplitude, decay_s = values["note_velocity"] / 127.0, 10.0 ** values["log10_decay_time"]
    y, before, sound = [0.0] * 4, 0.0, np.empty(num_samples, np.float32)
    tanh_y = [0.0] * 4
    for n in range(num_samples):
        for half in range(2):
            p = note_hz * (2 * n + half) / (2 * rate) - 0.5
            x = 2.0 * (p - math.floor(p)) - 1.0
            below = math.tanh(x - half_k * (y[3] + before))
            before = y[3]
            for stage in range(4):
                y[stage] += g * (below - tanh_y[stage])
                below = tanh_y[stage] = math.tanh(y[stage])
        sound[n] = amplitude * math.exp(-n / rate / decay_s) * y[3]
    return sound.astype(np.float64)


def reference_window(window_type: str, length: int) -> np.ndarray:
    """The periodic window."""
    x = 2.0 * np.pi * np.arange(length) / length
    return {
        "rectangular": np.ones(length),
        "hann": 0.5 - 0.5 * np.cos(x),
        "hamming": 0.54 - 0.46 * np.cos(x),
        "blackman": 0.42 - 0.5 * np.cos(x) + 0.08 * np.cos(2.0 * x),
    }[window_type]


def reference_image(
    sound: np.ndarray, recipe: Mapping[str, Any]
) -> tuple[np.ndarray, float, float]:
    """The uint8 image (H, W) of one sound, scaled from its own minimum…maximum in dB."""
    stft, height, width = recipe["stft"], recipe["image"]["height"], recipe["image"]["width"]
    window = reference_window(stft["window_type"], stft["n_window"])
    starts = np.arange(width) * stft["hop_length"]
    frames = sound[starts[:, None] + np.arange(stft["n_window"])] * window
    spectrum = np.fft.rfft(frames, n=stft["n_fft"]) / np.sqrt(stft["n_fft"])
    magnitude = np.abs(spectrum[:, 1 : height + 1]).T
    db = 20.0 * np.log10(np.maximum(magnitude, 10.0 ** (stft["floor_db"] / 20.0)))
    if stft["floor_db_rel"] is not None:
        db = np.maximum(db, db.max() + stft["floor_db_rel"])
    low, high = db.min(), db.max()
    scaled = 255.0 * (db - low) / (high - low) if high > low else np.zeros_like(db)
    return np.round(scaled).astype(np.uint8), float(low), float(high)


def reference_sample(
    recipe: Mapping[str, Any], index: int, num_samples: int
) -> tuple[np.ndarray, list[int], float, float]:
    """Image, quantised labels and scale factors of sample `index`."""
    values = reference_values(recipe, index)
    image, low, high = reference_image(
        reference_sound(values, recipe["sample_rate"], num_samples), recipe
    )
    labels = [
        round(255.0 * (values[name] - p["min"]) / (p["max"] - p["min"]))
        for name, p in recipe["synth"]["parameters"].items()
        if p["min"] != p["max"]
    ]
    return image, labels, low, high


def reference_records(
    recipe: Mapping[str, Any], count: int, *, whole_sound: bool = False
) -> Iterator[bytes]:
    """The first `count` records of the unshuffled random data set, one by one.

    Args:
        recipe: plain values, one base channel, no derived channels, no noise.
        count: how many.
        whole_sound: render all of the duration; False: only what the image needs.
    """
    stft, width = recipe["stft"], recipe["image"]["width"]
    num_samples = (width - 1) * stft["hop_length"] + stft["n_window"]
    if whole_sound:
        num_samples = round(recipe["duration"] * recipe["sample_rate"])
    for index in range(count):
        image, labels, low, high = reference_sample(recipe, index, num_samples)
        head = np.array([*image.shape, 1], dtype="<u2").tobytes()
        pairs = [byte for pair in enumerate(labels) for byte in pair]
        yield (
            head
            + np.array([low, high], dtype="<f4").tobytes()
            + bytes([len(labels), *pairs])
            + image.tobytes()
        )

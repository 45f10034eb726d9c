"""Random numbers by counting: the draw of sample i is found without making those before it.

Philox4x64-10 (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011)
turns a 256-bit counter and a 128-bit key into four 64-bit words. Here the key is
(seed, stream), so that parameters, order and noise never share a number.
"""

import numpy as np
from jaxtyping import Float32, Float64, Integer, UInt32, UInt64

from src.vimh.errors import VIMHError

STREAM_PARAMETERS = 0
STREAM_ORDER = 1
STREAM_NOISE = 2

_ROUNDS = 10
_MULTIPLIERS = (np.uint64(0xD2E7470EE14C6C93), np.uint64(0xCA5A826395121157))
_WEYL = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)
_LOW = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)
_WORDS = 4  # words that one counter gives


def check_seed(seed: int, key: str = "seed") -> None:
    """Refuse a seed that is not a 64-bit key; `key` names it in the message.

    Raises:
        VIMHError: naming the key and the range.
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**64:
        raise VIMHError(f"{key} must be a whole number in 0…2^64 - 1, got {seed!r}")


def uniforms(
    seed: int, indices: Integer[np.ndarray, "B"], columns: int
) -> Float64[np.ndarray, "B {columns}"]:
    """Uniform numbers in [0, 1) with 53 bits: row b depends only on (seed, indices[b]).

    Sample i owns ``ceil(columns / 4)`` counters from ``i`` times that number on; they are those
    that ``numpy.random.Philox(key=[seed, 0])`` gives after ``advance``.

    Example:
        >>> together = uniforms(42, np.array([3, 1000]), 2)
        >>> alone = uniforms(42, np.array([1000]), 2)
        >>> bool((together[1] == alone[0]).all())
        True
    """
    blocks = -(-columns // _WORDS)
    first = indices.astype(np.uint64)[:, None] * np.uint64(blocks)
    # numpy counts up before it draws, so its first block is counter 1
    counters = first + np.arange(1, blocks + 1, dtype=np.uint64)
    words = philox_words(seed, STREAM_PARAMETERS, counters.ravel())
    words = words.reshape(len(indices), blocks * _WORDS)[:, :columns]
    return (words >> np.uint64(11)) * 2.0**-53


def philox_words(
    seed: int, stream: int, counters: UInt64[np.ndarray, "N"]
) -> UInt64[np.ndarray, "N 4"]:
    """Four 64-bit words for each counter (its lowest 64 bits; the others are 0)."""
    c0, (c1, c2, c3) = counters, np.zeros((3, len(counters)), np.uint64)
    key = [seed, stream]
    for _ in range(_ROUNDS):
        high0, low0 = _multiply(_MULTIPLIERS[0], c0)
        high1, low1 = _multiply(_MULTIPLIERS[1], c2)
        c0, c1, c2, c3 = high1 ^ c1 ^ np.uint64(key[0]), low1, high0 ^ c3 ^ np.uint64(key[1]), low0
        key = [(k + w) % 2**64 for k, w in zip(key, _WEYL, strict=True)]
    return np.stack([c0, c1, c2, c3], axis=-1)


def _multiply(a: np.uint64, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the high and the low 64 bits of the 128-bit product."""
    a_low, a_high = a & _LOW, a >> _32
    b_low, b_high = b & _LOW, b >> _32
    middle = a_high * b_low + ((a_low * b_low) >> _32)
    middle_low = (middle & _LOW) + a_low * b_high
    return a_high * b_high + (middle >> _32) + (middle_low >> _32), b * a


def permutation(seed: int, count: int) -> UInt32[np.ndarray, "{count}"]:
    """Return the seeded order of ``count`` samples, 4 bytes each.

    Example:
        >>> sorted(permutation(42, 5).tolist())
        [0, 1, 2, 3, 4]
    """
    check_seed(seed)
    if count >= 2**32:
        raise VIMHError(f"shuffle takes fewer than 2^32 samples, got {count}")
    order = np.arange(count, dtype=np.uint32)
    np.random.Generator(np.random.Philox(key=_key(seed, STREAM_ORDER))).shuffle(order)
    return order


def white_noise(
    seed: int, index: int, num_samples: int
) -> tuple[float, Float32[np.ndarray, "{num_samples}"]]:
    """Return a uniform number in [0, 1) and Gaussian white noise of variance 1 for one sample.

    A shorter noise is the beginning of a longer one.
    """
    # 2^64 counters for each sample
    bits = np.random.Philox(key=_key(seed, STREAM_NOISE), counter=[0, index, 0, 0])
    generator = np.random.Generator(bits)
    return generator.random(), generator.standard_normal(num_samples, dtype=np.float32)


def _key(seed: int, stream: int) -> np.ndarray:
    return np.array([seed, stream], dtype=np.uint64)

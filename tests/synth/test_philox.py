import numpy as np
import pytest

from src.synth.philox import (
    STREAM_NOISE,
    STREAM_ORDER,
    STREAM_PARAMETERS,
    check_seed,
    permutation,
    philox_words,
    uniforms,
    white_noise,
)
from src.vimh.errors import VIMHError


@pytest.mark.parametrize("seed", [0, 42, 2**64 - 1])
@pytest.mark.parametrize("columns", [1, 4, 5])
def test_uniforms_are_those_of_numpy_advanced_to_the_sample(seed: int, columns: int) -> None:
    indices = np.array([0, 7, 123456789, 2**40])
    ours = uniforms(seed, indices, columns)
    for row, index in zip(ours, indices.tolist(), strict=True):
        bits = np.random.Philox(key=np.array([seed, STREAM_PARAMETERS], dtype=np.uint64))
        bits.advance(index * -(-columns // 4))
        np.testing.assert_array_equal(row, np.random.Generator(bits).random(columns))


def test_neighbouring_samples_share_no_number() -> None:
    numbers = uniforms(42, np.arange(1000), 5).ravel()
    assert len(np.unique(numbers)) == len(numbers)


def test_streams_differ() -> None:
    counters = np.arange(1, 5, dtype=np.uint64)
    streams = [
        philox_words(42, s, counters) for s in (STREAM_PARAMETERS, STREAM_ORDER, STREAM_NOISE)
    ]
    assert len(np.unique(np.stack(streams))) == 3 * 4 * 4


def test_permutation_is_one_and_seeded() -> None:
    order = permutation(42, 1000)
    np.testing.assert_array_equal(np.sort(order), np.arange(1000))
    np.testing.assert_array_equal(order, permutation(42, 1000))
    assert (order != permutation(43, 1000)).any()
    assert (order != np.arange(1000)).mean() > 0.9


def test_noise_is_white_gaussian_of_variance_one() -> None:
    noise = np.concatenate([white_noise(42, i, 10000)[1] for i in range(10)])
    assert abs(noise.mean()) < 0.02
    assert abs(noise.std() - 1.0) < 0.02
    assert abs(np.corrcoef(noise[:-1], noise[1:])[0, 1]) < 0.02


def test_shorter_noise_is_the_beginning_of_the_longer() -> None:
    level, long = white_noise(42, 3, 8001)
    again, short = white_noise(42, 3, 4543)
    assert level == again
    np.testing.assert_array_equal(short, long[:4543])
    assert (white_noise(42, 4, 4543)[1] != short).any()


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_seed_out_of_range(seed: int) -> None:
    with pytest.raises(VIMHError, match="seed must be"):
        check_seed(seed)

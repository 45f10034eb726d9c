import numpy as np
import pytest
import torch

from src.data.loader import WINDOW_BLOCKS, EpochOrder, OrderedBatches, StatefulLoader
from src.inputs.batch import RawBatch
from src.utils.errors import ConfigError


class Numbers:
    """Batches whose images are the samples' own numbers."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitems__(self, indices: np.ndarray) -> RawBatch:
        assert isinstance(indices, np.ndarray)
        return RawBatch(torch.from_numpy(indices), {}, torch.empty(len(indices), 2))


def loader(
    count: int = 23, batch_size: int = 4, num_workers: int = 0, seed: int = 5, **order: object
) -> StatefulLoader:
    sampler = EpochOrder(count, seed=seed, **{"training": True, **order})
    batches = OrderedBatches(sampler, batch_size, drop_last=False)
    return StatefulLoader(Numbers(count), batches, num_workers=num_workers)


def numbers(batches: object) -> list[list[int]]:
    return [batch.images.tolist() for batch in batches]


def flat(batches: object) -> list[int]:
    return [number for batch in batches for number in batch.images.tolist()]


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    first, same = loader(), loader()
    for other in (loader(seed=6), loader()):
        other.batch_sampler.sampler.set_epoch(other.batch_sampler.sampler.seed == 5)
        assert numbers(other) != numbers(first)
        first = loader()
    torch.manual_seed(1)
    assert numbers(first) == numbers(same)
    assert sorted(flat(same)) == list(range(23))


def test_a_block_shuffle_keeps_neighbours_near() -> None:
    """All samples once, others each epoch, and a window reads from its own blocks alone."""
    order = EpochOrder(10_010, training=True, seed=5, block_size=10)
    first = order.indices()
    assert sorted(first) == list(range(10_010))
    window = WINDOW_BLOCKS * order.block_size
    for start in range(0, 10_010, window):
        part = first[start : start + window]
        assert len(set(part // 10)) <= WINDOW_BLOCKS + 1  # the last block may be short
        assert np.abs(np.diff(part)).mean() > 10  # not in the file's order
    order.set_epoch(1)
    assert (order.indices() != first).any()


def test_a_state_from_before_blocks_is_taken_on() -> None:
    whole, resumed = loader(), loader()
    batches = iter(whole)
    next(batches)
    state = whole.state_dict()
    del state["block_size"]
    resumed.load_state_dict(state)
    assert numbers(resumed) == numbers(batches)
    with pytest.raises(ConfigError, match="block_size 0 \\(now 4\\)"):
        loader(block_size=4).load_state_dict(state)


def test_a_plain_loop_gets_another_order_each_epoch() -> None:
    own = loader()
    epochs = [numbers(own) for _ in range(3)]
    assert len({str(epoch) for epoch in epochs}) == 3
    third = loader()
    third.batch_sampler.sampler.set_epoch(2)
    assert numbers(third) == epochs[2]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_the_epoch_is_looked_at_when_the_first_batch_is_asked_for(num_workers: int) -> None:
    """Lightning creates the iterator before it sets the epoch."""
    early = loader(num_workers=num_workers)
    iterator = iter(early)
    early.batch_sampler.sampler.set_epoch(3)
    late = loader()
    late.batch_sampler.sampler.set_epoch(3)
    assert numbers(iterator) == numbers(late)


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("consumed", [0, 1, 5, 6])
def test_the_rest_of_an_epoch_and_all_later_ones_come_back(num_workers: int, consumed: int) -> None:
    whole = loader()
    expected = [numbers(whole) for _ in range(3)]
    own = loader(num_workers=num_workers)
    list(own)
    iterator = iter(own)
    for _ in range(consumed):
        next(iterator)
    state = own.state_dict()
    assert state["batches"] == (consumed or 6)  # before the first batch: the end of the last epoch
    resumed = loader(num_workers=num_workers)
    resumed.load_state_dict(state)
    assert resumed.state_dict() == state
    rest = numbers(resumed) if 0 < consumed < 6 else []
    assert rest == (expected[1][consumed:] if 0 < consumed < 6 else [])
    if consumed:
        assert numbers(resumed) == expected[2]
    else:
        assert numbers(resumed) == expected[1]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_batches_drawn_ahead_or_in_flight_are_not_consumed(num_workers: int) -> None:
    own = loader(num_workers=num_workers)
    trained = 0
    own.trained = lambda: trained
    iterator = iter(own)
    next(iterator)
    trained = 1
    next(iterator)  # an interrupt while this one is trained on: it has to come again
    assert own.state_dict()["batches"] == 1


def test_the_state_is_plain_numbers_and_a_changed_epoch_is_refused() -> None:
    own = loader()
    next(iter(own))
    state = own.state_dict()
    assert all(type(value) is int for value in state.values())
    with pytest.raises(ConfigError, match=r"batch_size 4 \(now 8\)"):
        loader(batch_size=8).load_state_dict(state)
    list(own)
    loader(batch_size=8).load_state_dict(own.state_dict())  # at an epoch's end nothing is lost


@pytest.mark.parametrize("num_workers", [0, 2])
def test_the_global_random_state_is_left_alone(num_workers: int) -> None:
    before = torch.get_rng_state()
    list(loader(num_workers=num_workers))
    assert torch.equal(before, torch.get_rng_state())


def test_persistent_workers_serve_every_epoch() -> None:
    sampler = EpochOrder(23, training=True, seed=5)
    kept = StatefulLoader(
        Numbers(23), OrderedBatches(sampler, 4, False), num_workers=2, persistent_workers=True
    )
    fresh = loader()
    assert [numbers(kept) for _ in range(3)] == [numbers(fresh) for _ in range(3)]


@pytest.mark.parametrize("world_size", [1, 2, 3, 7])
@pytest.mark.parametrize("count", [7, 24, 25, 26])
def test_evaluation_sees_every_sample_once_in_equally_many_batches(
    world_size: int, count: int
) -> None:
    ranks = [
        loader(count, training=False, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    seen = [numbers(rank) for rank in ranks]
    assert sorted(n for rank in seen for batch in rank for n in batch) == list(range(count))
    assert {len(batches) for batches in seen} == {len(ranks[0])}
    assert all(0 < len(batch) <= 4 for batches in seen for batch in batches)


@pytest.mark.parametrize("count", [24, 25, 26])
def test_training_gives_every_rank_the_same_number_and_no_sample_twice(count: int) -> None:
    ranks = [loader(count, rank=rank, world_size=3) for rank in range(3)]
    seen = [flat(rank) for rank in ranks]
    assert [len(samples) for samples in seen] == [8, 8, 8]
    assert len(set().union(*seen)) == 24


def test_fewer_samples_than_processes_are_told() -> None:
    with pytest.raises(ConfigError, match=r"2 samples.*3 processes"):
        EpochOrder(2, training=True, rank=0, world_size=3)


def test_without_shuffle_training_keeps_the_order() -> None:
    assert flat(loader(shuffle=False)) == list(range(23))

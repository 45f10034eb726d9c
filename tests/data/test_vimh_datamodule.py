import logging
import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from src.data.vimh_datamodule import VIMHDataModule
from src.inputs.batch import IndexBatch, RawBatch
from src.schema.arguments import check_arguments
from src.utils.errors import ConfigError
from src.vimh.errors import VIMHError
from src.vimh.records import open_dataset

MakeDataset = Callable[..., Path]
CPU = torch.device("cpu")


@pytest.fixture
def folder(make_dataset: MakeDataset) -> Path:
    """50 samples, 40 of them in the train file, whose first pixel is the sample's number."""
    images = np.random.default_rng(0).integers(0, 256, (50, 1, 4, 6), dtype=np.uint8)
    images[:, 0, 0, 0] = np.arange(50)
    return make_dataset(images=images)


def numbers(loader: Any) -> list[int]:
    return [n for batch in loader for n in batch.images[:, 0, 0, 0].tolist()]


def test_defaults_are_those_of_the_surface(folder: Path) -> None:
    data = VIMHDataModule(folder)
    assert (data.batch_size, data.seed, data.shares) == (128, 42, (0.7, 0.2, 0.1))
    assert data.splits.sizes == {"train": 35, "val": 10, "test": 5}


def test_training_validation_and_test_samples_are_disjoint(folder: Path) -> None:
    data = VIMHDataModule(folder, batch_size=8)
    loaders = data.train_dataloader(), data.val_dataloader(), data.test_dataloader()
    seen = [sorted(numbers(loader)) for loader in loaders]
    assert [len(samples) for samples in seen] == [32, 10, 5]  # the small last batch of 35 is left
    everything = [n for samples in seen for n in samples]
    assert len(set(everything)) == len(everything)
    assert seen[1] == data.splits.val.tolist()
    pixels = [{batch.images[k].numpy().tobytes() for batch in loader for k in range(len(batch[0]))}
              for loader in loaders]  # fmt: skip
    assert not pixels[2] & pixels[0]
    assert data.count_shared_images() == 0


def test_the_same_seed_gives_the_same_split_and_the_same_order(folder: Path) -> None:
    def order(**arguments: Any) -> list[int]:
        data = VIMHDataModule(folder, **arguments)
        data.order_seed = 1
        return numbers(data.train_dataloader())

    assert order() == order(num_workers=2) == order(residency="disk")
    assert order() != order(seed=43)
    assert order() == order(shuffle_block=2)  # in memory there is nothing to gain by it


def test_from_disk_it_shuffles_in_blocks_where_asked(folder: Path) -> None:
    data = VIMHDataModule(folder, batch_size=8, residency="disk", shuffle_block=2)
    loader = data.train_dataloader()
    assert loader.batch_sampler.sampler.block_size == 2
    assert data.val_dataloader().batch_sampler.sampler.block_size == 0
    assert len(set(numbers(loader))) == 32


def test_a_block_shuffle_that_memory_leaves_out_is_told(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    loader = VIMHDataModule(folder, shuffle_block=2).train_dataloader()
    assert loader.batch_sampler.sampler.block_size == 0
    assert "data.shuffle_block=2 has no effect: data.residency=auto" in caplog.text
    VIMHDataModule(folder, residency="ram", shuffle_block=0).train_dataloader()


def test_the_global_seed_orders_and_the_data_seed_splits(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PL_GLOBAL_SEED", "1")  # what seed_everything sets
    first = numbers(VIMHDataModule(folder).train_dataloader())
    monkeypatch.setenv("PL_GLOBAL_SEED", "2")
    second = numbers(VIMHDataModule(folder).train_dataloader())
    assert first != second
    assert sorted(first) == sorted(second)


@pytest.mark.parametrize(
    ("batch_size", "batches"),
    [(35, [35]), (20, [20, 15]), (16, [16, 16]), (17, [17, 17]), (18, [18, 17])],
)
def test_the_last_small_batch_is_dropped_only_of_more_than_two(
    folder: Path, batch_size: int, batches: list[int]
) -> None:
    data = VIMHDataModule(folder, batch_size=batch_size)
    assert [len(batch.images) for batch in data.train_dataloader()] == batches
    assert len(data.train_dataloader()) == len(batches)
    assert sum(len(batch.images) for batch in data.val_dataloader()) == 10


def test_everything_can_be_tested_on(folder: Path) -> None:
    data = VIMHDataModule(folder, train_val_test_split=[0, 0, 1])
    assert numbers(data.test_dataloader()) == list(range(50))
    assert data.val_dataloader() == []
    with pytest.raises(ConfigError, match=r"leaves no samples for train"):
        data.train_dataloader()


def test_the_files_own_split(folder: Path) -> None:
    data = VIMHDataModule(folder, use_random_split=False)
    assert numbers(data.test_dataloader()) == list(range(40, 50))
    assert sorted(numbers(data.train_dataloader()) + numbers(data.val_dataloader())) == list(
        range(40)
    )
    info = data.get_dataset_info()
    assert (info["num_train_samples"], info["num_val_samples"], info["num_test_samples"]) == (
        40,
        8,
        10,
    )
    assert info["split_sizes"] == {"train": 32, "val": 8, "test": 10}


def test_avix_mode_tests_on_its_validation_samples_and_says_so(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = VIMHDataModule(folder, avix_training_mode=True)
    with caplog.at_level(logging.INFO):
        data.setup()
    assert "testing uses the validation samples" in caplog.text
    assert numbers(data.val_dataloader()) == numbers(data.test_dataloader())
    assert data.get_dataset_info()["split_sizes"] == {"train": 45, "val": 5, "test": 5}


def test_equal_images_on_both_sides_are_counted_and_told(
    make_dataset: MakeDataset, caplog: pytest.LogCaptureFixture
) -> None:
    images = np.repeat(np.arange(25, dtype=np.uint8), 2)[:, None, None, None]
    images = np.broadcast_to(images, (50, 1, 4, 6))
    data = VIMHDataModule(make_dataset(images=np.ascontiguousarray(images)))
    with caplog.at_level(logging.INFO):
        data.setup()
    train = {n // 2 for n in data.splits.train}
    expected = sum(n // 2 in train for n in data.splits.test)
    assert data.count_shared_images() == expected > 0
    assert f"{expected} of 5 test images also occur in training" in caplog.text


def test_it_says_what_a_model_looks_like(folder: Path) -> None:
    data = VIMHDataModule(folder, feature_types=["temporal_envelope"])
    assert data.num_classes == data.heads_config == {"note_velocity": 3, "log10_decay_time": 24}
    assert data.param_bounds["log10_decay_time"] == (-2.0, 0.3)
    assert data.param_ranges == pytest.approx({"note_velocity": 1.0, "log10_decay_time": 2.3})
    assert data.class_names["note_velocity"] == ("126", "126.5", "127")
    assert data.image_shape == (2, 4, 6)


def test_a_batch_has_each_parameters_value(folder: Path) -> None:
    data = VIMHDataModule(folder)
    batch = next(iter(data.train_dataloader()))
    assert isinstance(batch, RawBatch)
    assert batch.values.shape == (35, 2)
    stored = np.concatenate([data.opened.train.labels[:], data.opened.test.labels[:]])
    rows = {tuple(row) for row in stored.tolist()}
    assert {tuple(row) for row in (batch.values * 255).round().int().tolist()} <= rows


@pytest.mark.parametrize("num_workers", [0, 2])
def test_on_the_device_a_batch_is_an_index(folder: Path, num_workers: int) -> None:
    here = VIMHDataModule(folder, batch_size=8)
    there = VIMHDataModule(folder, batch_size=8, residency="device", num_workers=num_workers)
    loader = there.train_dataloader()
    assert loader.num_workers == 0
    for expected, batch in zip(here.train_dataloader(), loader, strict=True):
        assert isinstance(batch, IndexBatch)
        moved = there.transfer_batch_to_device(batch, CPU, 0)
        assert torch.equal(moved.images, expected.images)
        assert torch.equal(moved.values, expected.values)
        assert torch.equal(moved.scale_factors, expected.scale_factors)


def test_what_is_on_the_device_is_not_moved_and_pairs_are(folder: Path) -> None:
    data = VIMHDataModule(folder)
    batch = next(iter(data.train_dataloader()))
    assert data.transfer_batch_to_device(batch, CPU, 0) is batch
    moved = data.transfer_batch_to_device(batch, torch.device("meta"), 0)
    assert {part.device.type for part in moved} == {"meta"}
    pair = data.transfer_batch_to_device([torch.ones(2), torch.zeros(2)], CPU, 0)
    assert torch.equal(pair[0], torch.ones(2))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_random_transform_is_the_same_wherever_it_runs(folder: Path, num_workers: int) -> None:
    def roll(images: torch.Tensor) -> torch.Tensor:
        return images.roll(int(torch.randint(6, ())), dims=-1)

    arguments: dict[str, Any] = {"train_transform": roll, "batch_size": 8}
    data = VIMHDataModule(folder, num_workers=num_workers, **arguments)
    before = torch.get_rng_state()
    changed = torch.cat([batch.images for batch in data.train_dataloader()])
    assert torch.equal(before, torch.get_rng_state())
    plain = VIMHDataModule(folder, batch_size=8)
    assert not torch.equal(changed, torch.cat([b.images for b in plain.train_dataloader()]))
    again = VIMHDataModule(folder, **arguments)
    assert torch.equal(changed, torch.cat([b.images for b in again.train_dataloader()]))
    valid = [numbers(d.val_dataloader()) for d in (data, plain)]
    assert valid[0] == valid[1]


def test_features_are_standardised_on_training_samples(folder: Path) -> None:
    data = VIMHDataModule(folder, auxiliary_features=["level"])
    preparation = data.build_preparation()
    level = torch.cat([raw.scale_factors[:, 1] for raw in data.raw_batches("train")])
    torch.testing.assert_close(preparation.auxiliary_mean[0], level.mean())
    torch.testing.assert_close(preparation.auxiliary_deviation[0], level.std(correction=0))
    nothing = VIMHDataModule(
        folder, auxiliary_features=["level"], train_val_test_split=[0, 0.5, 0.5]
    )
    with pytest.raises(ConfigError, match="standardised on training samples"):
        nothing.build_preparation()
    assert nothing.build_preparation(fit=False).auxiliary_size == 1


def test_raw_batches_come_in_order_without_transforms(folder: Path) -> None:
    data = VIMHDataModule(folder, batch_size=8, val_transform=torch.zeros_like, residency="disk")
    assert numbers(data.raw_batches("val")) == data.splits.val.tolist()
    some = numbers(data.raw_batches("train", limit=12))
    assert len(some) == 12
    assert set(some) < set(data.splits.train.tolist())
    assert some == numbers(data.raw_batches("train", limit=12))
    assert numbers(data.raw_batches("val", limit=100)) == data.splits.val.tolist()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"batch_size": 0}, "data.batch_size is 0"),
        ({"num_workers": -1}, "data.num_workers"),
        ({"seed": -1}, "data.seed"),
        ({"target_width": -0.5}, "data.target_width"),
        ({"validate": "never"}, r"data.validate is 'never'.*fast, full"),
        ({"shuffle_block": -1}, r"data.shuffle_block is -1"),
        ({"residency": "cloud"}, r"data.residency.*auto, disk, ram, device"),
        ({"train_val_test_split": [0.5, 0.5]}, "data.train_val_test_split"),
        ({"persistent_workers": True}, "data.num_workers"),
        ({"residency": "device", "train_transform": torch.flip}, "data.residency=device"),
        ({"residency": "ram", "shuffle_block": 2}, "data.shuffle_block is 2.*data.residency=ram"),
        ({"residency": "device", "shuffle_block": 2}, "data.residency=disk"),
        ({"data_dir": None}, "data.data_dir and data.source are both null"),
    ],
)
def test_wrong_arguments_are_told_at_once(arguments: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        VIMHDataModule(**{"data_dir": "nowhere", **arguments})


@pytest.mark.parametrize("value", [2.5, True, "8", 0])
def test_numbers_of_samples_are_whole(value: Any) -> None:
    """What the type checker of the tests would refuse before the data module sees it."""
    with pytest.raises(ConfigError, match=r"data.batch_size is .*a whole number of at least 1"):
        check_arguments(VIMHDataModule, {"batch_size": value}, "data", complete=False)


# -- making what is missing ---------------------------------------------------------------------


def test_a_missing_set_without_a_source_is_one_sentence(tmp_path: Path) -> None:
    data = VIMHDataModule(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match=r"no data set at .*nowhere.*generate_vimh.py") as error:
        data.prepare_data()
    assert "\n" not in str(error.value)


def test_the_source_makes_a_missing_set_once(tmp_path: Path, make_source: Any) -> None:
    source = make_source(tmp_path / "below" / "made")
    for _ in range(2):
        data = VIMHDataModule(source=source)
        data.prepare_data()
        assert data.metadata.dataset_name == "made"
    assert source.made == 1
    assert data.data_dir == source.dataset_dir


def test_the_source_may_refuse_what_is_there_but_a_named_set_is_taken(
    folder: Path, make_source: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_source(folder)

    def refuse() -> None:
        raise VIMHError("from another recipe")

    monkeypatch.setattr(source, "make", refuse)
    with pytest.raises(VIMHError, match="another recipe"):
        VIMHDataModule(source=source).prepare_data()
    VIMHDataModule(folder, source=source).prepare_data()


def test_a_source_of_another_set_is_told(tmp_path: Path, make_source: Any) -> None:
    data = VIMHDataModule(tmp_path / "wanted", source=make_source(tmp_path / "made"))
    with pytest.raises(ConfigError, match=r"wanted.*makes.*made"):
        data.prepare_data()


def _prepare(source: Any, started: Any) -> None:
    started.wait()
    VIMHDataModule(source=source).prepare_data()


class SlowSource:
    """Counts in a file, and would make two data sets if two processes came in at once."""

    def __init__(self, dataset_dir: Path, write: Callable[[Path], object]) -> None:
        self.dataset_dir = dataset_dir
        self.write = write

    def make(self) -> None:
        if self.dataset_dir.exists():
            return
        with (self.dataset_dir.parent / "count").open("a") as file:
            file.write("x")
        self.write(self.dataset_dir)


def test_one_process_makes_it_and_the_others_wait(tmp_path: Path, make_source: Any) -> None:
    source = SlowSource(tmp_path / "made", make_source(tmp_path).write)
    context = multiprocessing.get_context("fork")
    started = context.Barrier(3)
    processes = [context.Process(target=_prepare, args=(source, started)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert (tmp_path / "count").read_text() == "x"
    assert len(open_dataset(tmp_path / "made").train) == 40


def not_in_db(make_dataset: MakeDataset, wrong: slice) -> Path:
    scale = np.tile(np.array([[-80.0, -10.0]], np.float32), (50, 1))
    scale[wrong] = (0.0, 4066.0)
    return make_dataset(scale_factors=scale)


@pytest.mark.parametrize("wrong", [slice(None), slice(0, 40), slice(40, 50)])
def test_features_in_db_refuse_scale_factors_that_are_none(
    make_dataset: MakeDataset, wrong: slice
) -> None:
    folder = not_in_db(make_dataset, wrong)
    message = r"data.auxiliary_features: level need levels in dB.*4066"
    with pytest.raises(ConfigError, match=message):
        VIMHDataModule(folder, auxiliary_features=["level"]).build_preparation()
    with pytest.raises(ConfigError, match=message):  # as for a checkpoint, which has the figures
        VIMHDataModule(folder, auxiliary_features=["level"]).setup()
    plain = VIMHDataModule(folder)
    plain.setup()
    assert plain.build_preparation().auxiliary_size == 0


def test_one_training_sample_that_is_no_level_is_found(make_dataset: MakeDataset) -> None:
    """Beyond those that are looked at when the data set is opened."""
    scale = np.tile(np.array([[-80.0, -10.0]], np.float32), (500, 1))
    scale[123] = (0.0, 4066.0)
    folder = make_dataset(num_train=400, num_test=100, scale_factors=scale)
    data = VIMHDataModule(folder, auxiliary_features=["range"], train_val_test_split=(1, 0, 0))
    with pytest.raises(ConfigError, match=r"range need levels in dB.*4066"):
        data.build_preparation()


def test_a_seed_out_of_range_is_told(folder: Path) -> None:
    for seed in (0, 2**32 - 1):
        VIMHDataModule(folder, seed=seed).train_dataloader()
    for seed in (-1, 2**64, 10**23):
        with pytest.raises(ConfigError, match=rf"data.seed is {seed}; expected a whole number"):
            VIMHDataModule(folder, seed=seed)

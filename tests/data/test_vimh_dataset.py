import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from src.data.vimh_dataset import VIMHDataset, create_vimh_datasets
from src.utils.errors import ConfigError
from src.vimh.errors import VIMHError

MakeDataset = Callable[..., Path]
IMAGES = np.random.default_rng(0).integers(0, 256, (12, 3, 4, 6), dtype=np.uint8)
LABELS = np.random.default_rng(1).integers(0, 256, (12, 2), dtype=np.uint8)


@pytest.fixture
def folder(make_dataset: MakeDataset) -> Path:
    return make_dataset(num_train=9, num_test=3, shape=(3, 4, 6), images=IMAGES, labels=LABELS)


def test_an_item_is_a_finished_triple(folder: Path) -> None:
    train, test = create_vimh_datasets(folder)
    assert (len(train), len(test)) == (9, 3)
    for dataset, offset in ((train, 0), (test, 9)):
        for k in range(len(dataset)):
            image, labels, auxiliary = dataset[k]
            assert torch.equal(image, torch.from_numpy(IMAGES[offset + k]).float() / 255)
            assert auxiliary is None
            for j, (name, parameter) in enumerate(dataset.parameters.items()):
                assert type(labels[name]) is int
                value = parameter.dequantise(LABELS[offset + k, j])
                assert labels[name] == parameter.class_of(value)


def test_it_is_a_sequence(folder: Path) -> None:
    dataset = VIMHDataset(folder)
    assert torch.equal(dataset[-1].image, dataset[8].image)
    for wrong in (9, -10):
        with pytest.raises(IndexError, match="of 9"):
            dataset[wrong]
    assert len(list(dataset)) == 9  # python's own iteration ends at the IndexError


def test_gather_returns_bytes_values_and_scale_factors(folder: Path) -> None:
    dataset = VIMHDataset(folder)
    indices = np.array([4, 0, 4])
    raw = dataset.gather(indices)
    np.testing.assert_array_equal(raw.images, IMAGES[indices])
    assert raw.images.dtype == torch.uint8
    assert raw.values.dtype == raw.scale_factors.dtype == torch.float32
    np.testing.assert_array_equal(raw.scale_factors, dataset.records.scale_factors[indices])
    np.testing.assert_array_equal(raw.values, LABELS[indices] / np.float32(255))
    assert torch.equal(dataset.gather(torch.from_numpy(indices)).images, raw.images)


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize(
    ("arguments", "dtype", "shape"),
    [
        ({}, torch.int64, ()),
        ({"target_width": 1}, torch.float32, (24,)),
        (
            {"target_kinds": {"log10_decay_time": "value"}, "auxiliary_features": ["level"]},
            torch.float32,
            (),
        ),
    ],
)
def test_it_works_in_any_plain_loader(
    folder: Path,
    num_workers: int,
    arguments: dict[str, Any],
    dtype: torch.dtype,
    shape: tuple[int, ...],
) -> None:
    dataset = VIMHDataset(folder, **arguments)
    assert "__getitems__" not in dir(dataset)
    images, labels, auxiliary = next(iter(DataLoader(dataset, 5, num_workers=num_workers)))
    expected = [dataset[k] for k in range(5)]
    assert torch.equal(images, torch.stack([sample.image for sample in expected]))
    assert labels["log10_decay_time"].dtype == dtype
    assert labels["log10_decay_time"].shape == (5, *shape)
    for k, sample in enumerate(expected):
        assert np.allclose(labels["log10_decay_time"][k], sample.labels["log10_decay_time"])
    if "auxiliary_features" in arguments:
        assert auxiliary.shape == (5, 1)
    else:
        assert auxiliary is None


def test_the_batch_is_what_the_items_are(folder: Path) -> None:
    arguments: dict[str, Any] = {"auxiliary_features": ["decay_time", "level"]}
    dataset = VIMHDataset(folder, channel_selection=["B", "R"], **arguments)
    batch = dataset.preparation.prepare_batch(dataset.gather(np.arange(9)))
    for k in range(9):
        image, labels, auxiliary = dataset[k]
        assert torch.equal(image, batch.images[k])
        for column, (name, parameter) in enumerate(dataset.parameters.items()):
            value = batch.values[k, column].double().item()
            assert parameter.class_of(parameter.denormalise(value)) == labels[name]
        torch.testing.assert_close(auxiliary, batch.auxiliary[k])
    assert dataset.get_image_shape() == (2, 4, 6)


def test_transforms_are_applied_to_the_finished_sample(folder: Path) -> None:
    dataset = VIMHDataset(
        folder, transform=lambda image: image.flip(-1), target_transform=lambda labels: len(labels)
    )
    image, labels, _ = dataset[0]
    np.testing.assert_allclose(image, IMAGES[0, :, :, ::-1] / 255, rtol=1e-6)
    assert labels == 2
    assert next(iter(DataLoader(dataset, 4))).labels.tolist() == [2] * 4


def test_it_travels_to_a_process_without_its_samples(folder: Path) -> None:
    dataset = VIMHDataset(folder)
    text = pickle.dumps(dataset)
    assert IMAGES[0].tobytes() not in text
    assert torch.equal(pickle.loads(text)[3].image, dataset[3].image)


@pytest.mark.parametrize("channels", [1, 3, 9])
def test_binary_and_pickle_read_the_same(make_dataset: MakeDataset, channels: int) -> None:
    images = np.random.default_rng(2).integers(0, 256, (12, channels, 4, 6), dtype=np.uint8)
    shared: dict[str, Any] = {"shape": images.shape[1:], "images": images, "labels": LABELS}
    both = [
        VIMHDataset(make_dataset(fmt, num_train=9, num_test=3, output_format=fmt, **shared))
        for fmt in ("binary", "pickle")
    ]
    for ours, theirs in zip(*(d.gather(np.arange(9)) for d in both), strict=True):
        if isinstance(ours, dict):
            assert all(torch.equal(ours[name], theirs[name]) for name in ours)
        else:
            assert torch.equal(ours, theirs)


def test_it_describes_itself(folder: Path) -> None:
    dataset = VIMHDataset(folder)
    assert dataset.get_heads_config() == {"note_velocity": 3, "log10_decay_time": 24}
    assert dataset.get_image_shape() == (3, 4, 6)
    assert dataset.parameter_mappings["note_velocity"]["step"] == 0.5
    assert dataset.get_parameter_info("log10_decay_time")["num_classes"] == 24
    with pytest.raises(ConfigError, match=r"no parameter 'cutoff'.*note_velocity"):
        dataset.get_parameter_info("cutoff")
    info = dataset.get_dataset_info()
    assert (info["num_samples"], info["channel_labels"]) == (9, ["R", "G", "B"])


def test_distribution_and_statistics_are_those_of_the_samples(folder: Path) -> None:
    dataset = VIMHDataset(folder)
    counts = dataset.get_class_distribution()
    labels = [dataset[k].labels["note_velocity"] for k in range(9)]
    assert counts["note_velocity"] == {k: labels.count(k) for k in sorted(set(labels))}
    assert sum(counts["log10_decay_time"].values()) == 9
    figures = dataset.get_dataset_statistics()
    green = IMAGES[:9, 1].astype(float)
    assert figures["channels"]["G"]["mean"] == pytest.approx(green.mean())
    assert figures["channels"]["G"]["std"] == pytest.approx(green.std())
    assert figures["channels"]["G"]["max"] == green.max()
    assert figures["parameters"]["note_velocity"]["min"] == pytest.approx(
        126 + LABELS[:9, 0].min() / 255
    )


def test_a_missing_or_broken_data_set_is_told(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(VIMHError, match="nowhere"):
        VIMHDataset(tmp_path / "nowhere")
    with (folder / "train").open("ab") as file:
        file.write(b"x")
    with pytest.raises(VIMHError, match="train"):
        VIMHDataset(folder)


def test_the_arguments_of_both_files_come_by_position(folder: Path) -> None:
    train, test = create_vimh_datasets(
        str(folder), lambda image: image * 2, lambda labels: len(labels), 1.0
    )
    for dataset in (train, test):
        assert {target.kind for target in dataset.targets} == {"distribution"}
        assert dataset[0].labels == 2
        assert dataset[0].image.max() > 1
    assert (train.train, test.train) == (True, False)


def test_a_target_transform_sees_the_bytes_before_they_become_classes(folder: Path) -> None:
    seen = []

    def halve(labels: dict[str, int]) -> dict[str, int]:
        seen.append(dict(labels))
        return {name: byte // 2 for name, byte in labels.items()}

    dataset = VIMHDataset(folder, target_transform=halve)
    for k in range(9):
        found = dataset[k].labels
        assert list(seen[-1].values()) == LABELS[k].tolist()
        assert all(type(byte) is int for byte in seen[-1].values())
        for j, (name, parameter) in enumerate(dataset.parameters.items()):
            assert found[name] == parameter.class_table()[LABELS[k, j] // 2]
    np.testing.assert_array_equal(dataset.records.labels, LABELS[:9])
    kinds = {"note_velocity": "distribution", "log10_decay_time": "value"}
    dataset = VIMHDataset(folder, target_transform=halve, target_width=1, target_kinds=kinds)
    labels = dataset[0].labels
    assert labels["note_velocity"].shape == (3,)
    assert labels["log10_decay_time"] == pytest.approx((LABELS[0, 1] // 2) / 255)


def test_what_a_target_transform_returns_beside_bytes_is_given_out(folder: Path) -> None:
    def some(labels: dict[str, int]) -> dict[str, Any]:
        return {"log10_decay_time": np.uint8(255), "note_velocity": 0.5, "other": 7}

    found = VIMHDataset(folder, target_transform=some)[0].labels
    assert found == {"log10_decay_time": 23, "note_velocity": 0.5, "other": 7}
    for wrong in (256, -1):
        dataset = VIMHDataset(folder, target_transform=lambda _, w=wrong: {"note_velocity": w})
        message = rf"target_transform returned {wrong} for 'note_velocity'; expected a stored byte"
        with pytest.raises(ConfigError, match=message):
            dataset[0]


def test_statistics_have_the_keys_that_people_know(folder: Path) -> None:
    dataset = VIMHDataset(folder, transform=lambda image: image)
    figures = dataset.get_dataset_statistics()
    info = dataset.get_dataset_info()
    assert {key: figures[key] for key in info} == info
    assert (figures["num_samples"], figures["train_mode"]) == (9, True)
    assert figures["metadata_format"]["parameter_names"] == list(dataset.parameters)
    assert figures["class_distribution"] == dataset.get_class_distribution()
    assert figures["transforms"] == {"image_transform": True, "target_transform": False}
    assert figures["parameter_statistics"]["note_velocity"] == {
        "description": "",
        "min_quantized": LABELS[:9, 0].min(),
        "max_quantized": LABELS[:9, 0].max(),
        "min_actual": 126.0,
        "max_actual": 127.0,
        "unique_values": len(set(LABELS[:9, 0].tolist())),
        "total_samples": 9,
    }
    assert VIMHDataset(folder, train=False).get_dataset_statistics()["train_mode"] is False


def test_features_in_db_refuse_scale_factors_that_are_none(make_dataset: MakeDataset) -> None:
    scale = np.tile(np.array([[0.0, 4066.0]], np.float32), (50, 1))
    folder = make_dataset(scale_factors=scale)
    with pytest.raises(ConfigError, match=r"decay_time need levels in dB.*train.*4066"):
        VIMHDataset(folder, auxiliary_features=["decay_time"])
    assert len(VIMHDataset(folder)) == 40


def test_a_kind_for_a_parameter_that_is_not_there(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"target_kinds names cutoff.*note_velocity"):
        VIMHDataset(folder, target_kinds={"cutoff": "index"})

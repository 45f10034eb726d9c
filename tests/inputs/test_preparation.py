from typing import Any

import numpy as np
import pytest
import torch

from src.inputs import channels
from src.inputs.auxiliary import decay_from_image, to_db
from src.inputs.batch import RawBatch
from src.inputs.preparation import Preparation, select_channels
from src.inputs.preparation_settings import PreparationSettings
from src.utils.errors import ConfigError
from src.vimh.metadata import Metadata

ENVELOPES = ["temporal_envelope", "spectral_envelope"]


def metadata(labels: list[str] | None = None, **keys: Any) -> Metadata:
    labels = labels or ["Gray"]
    return Metadata.from_json(
        {
            "height": 8,
            "width": 12,
            "channels": len(labels),
            "channel_labels": labels,
            "parameter_names": ["p"],
            "parameter_mappings": {"p": {"min": 0.0, "max": 1.0, "step": 0.5}},
            "sample_rate": 8000,
            "spectrogram_config": {"hop_length": 80},
            **keys,
        }
    )


def samples(num_channels: int = 1, count: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (count, num_channels, 8, 12), dtype=np.uint8)
    scale = np.sort(rng.normal(-60, 20, (count, 2)), axis=1).astype(np.float32)
    return torch.from_numpy(images), torch.from_numpy(scale)


def test_bytes_become_floats_in_0_1() -> None:
    images, scale = samples()
    prepared, auxiliary = Preparation(metadata())(images, scale)
    assert prepared.dtype == torch.float32
    assert torch.equal(prepared, images.float() / 255)
    assert auxiliary is None


def test_every_sample_is_prepared_by_itself() -> None:
    """A sample is the same alone and in any batch: sums are added in one order."""
    images, scale = samples(count=9)
    prepare = Preparation(
        metadata(),
        PreparationSettings(
            feature_types=list(channels.FEATURE_TYPES),
            feature_config={"normalize_spectrogram": True},
            auxiliary_features=["decay_time", "level", "range"],
        ),
    )
    together, features = prepare(images, scale)
    assert features is not None
    for k in range(9):
        alone, own = prepare(images[k : k + 1], scale[k : k + 1])
        assert own is not None
        assert torch.equal(alone[0], together[k])
        torch.testing.assert_close(own[0], features[k])


def test_features_are_appended_and_the_base_normalised() -> None:
    images, scale = samples()
    prepare = Preparation(
        metadata(),
        PreparationSettings(
            feature_types=ENVELOPES, feature_config={"normalize_spectrogram": True}
        ),
    )
    prepared, _ = prepare(images, scale)
    assert prepare.channel_labels == (
        "Gray_normalized",
        "Gray_temporal_envelope",
        "Gray_spectral_envelope",
    )
    assert prepared.shape[1:] == prepare.image_shape == (3, 8, 12)
    base = images[:, 0].float() / 255
    torch.testing.assert_close(prepared[:, 1], channels.temporal_envelope(base))
    torch.testing.assert_close(prepared[:, 2], channels.spectral_envelope(base))
    ratio = base / (prepared[:, 1] + 1e-8) / (prepared[:, 2] + 1e-8)
    torch.testing.assert_close(prepared[:, 0], channels.stretch(ratio, top=1.0))
    assert prepared.min() >= 0
    assert prepared.max() <= 1


def test_a_stored_envelope_is_kept_and_features_come_from_the_base_alone() -> None:
    images, scale = samples(num_channels=2)
    prepare = Preparation(
        metadata(["Gray", "Gray_temporal_envelope"]),
        PreparationSettings(feature_types=["temporal_gradient"]),
    )
    prepared, _ = prepare(images, scale)
    assert prepare.channel_labels == ("Gray", "Gray_temporal_envelope", "Gray_temporal_gradient")
    assert torch.equal(prepared[:, :2], images.float() / 255)


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (None, [0, 1, 2, 3]),
        (["R*"], [0, 2]),
        (["*_temporal_envelope", "R"], [2, 3, 0]),
        (["G", "*"], [1, 0, 2, 3]),
    ],
)
def test_channels_are_selected_in_the_order_given(
    patterns: list[str] | None, expected: list[int]
) -> None:
    labels = ["R", "G", "R_temporal_envelope", "G_temporal_envelope"]
    assert select_channels(labels, patterns) == expected
    images, scale = samples(num_channels=4)
    prepare = Preparation(metadata(labels), PreparationSettings(channel_selection=patterns))
    prepared, _ = prepare(images, scale)
    assert torch.equal(prepared, images[:, expected].float() / 255)
    assert prepare.channel_labels == tuple(labels[k] for k in expected)
    assert prepare.image_shape == (len(expected), 8, 12)


@pytest.mark.parametrize("normalized_on_the_fly", [False, True])
def test_the_decay_is_fitted_on_the_stored_base_channel(normalized_on_the_fly: bool) -> None:
    images, scale = samples(num_channels=2)
    prepare = Preparation(
        metadata(["Gray", "Gray_temporal_envelope"]),
        PreparationSettings(
            feature_config={"normalize_spectrogram": normalized_on_the_fly},
            auxiliary_features=["level", "decay_time", "range"],
            channel_selection=["*_envelope"],
        ),
    )
    raw = prepare.auxiliary(images, scale)
    expected = decay_from_image(to_db(images[:, 0].float(), scale), hop_s=0.01)
    torch.testing.assert_close(raw[:, 1:5], expected)
    torch.testing.assert_close(raw[:, 0], scale[:, 1])
    torch.testing.assert_close(raw[:, 5], scale[:, 1] - scale[:, 0])
    assert prepare.auxiliary.names == (
        "level",
        "log10_decay_time",
        "temporal_centroid",
        "temporal_spread",
        "peak_to_end_ratio",
        "range",
    )


def test_a_normalised_set_gives_the_decay_by_its_envelope() -> None:
    images, scale = samples(num_channels=2)
    labels = ["Gray_normalized", "Gray_temporal_envelope"]
    prepare = Preparation(metadata(labels), PreparationSettings(auxiliary_features=["decay_time"]))
    before = prepare.auxiliary(images, scale)
    images[:, 0] = 0  # the normalised channel says nothing about decay
    torch.testing.assert_close(prepare.auxiliary(images, scale), before)
    images[:, 1] = torch.arange(240, 0, -20)
    images[:, 1, 1:] = 0  # any row will do: they are the same in a data set
    assert not torch.equal(prepare.auxiliary(images, scale), before)


def test_features_are_standardised_by_what_they_were_fitted_on() -> None:
    images, scale = samples(count=200)
    scale[:, 0] = -100.0
    prepare = Preparation(
        metadata(), PreparationSettings(auxiliary_features=["level", "range", "decay_time"])
    )
    prepare.fit(images, scale)
    _, auxiliary = prepare(images, scale)
    assert auxiliary is not None
    torch.testing.assert_close(auxiliary.mean(dim=0), torch.zeros(6), atol=1e-4, rtol=0)
    torch.testing.assert_close(auxiliary.std(dim=0, correction=0), torch.ones(6))
    copy = Preparation(
        metadata(), PreparationSettings(auxiliary_features=["level", "range", "decay_time"])
    )
    copy.load_state_dict(prepare.state_dict())
    other = samples(count=3)
    for ours, theirs in zip(prepare(*other), copy(*other), strict=True):
        assert ours is not None
        assert torch.equal(ours, theirs)


def test_a_constant_feature_is_only_centred() -> None:
    images, scale = samples()
    scale[:, 1] = -20.0
    prepare = Preparation(metadata(), PreparationSettings(auxiliary_features=["level"]))
    prepare.fit(images, scale)
    _, auxiliary = prepare(images, scale + 1)
    assert auxiliary is not None
    torch.testing.assert_close(auxiliary, torch.ones(5, 1))


def test_a_prepared_batch_carries_the_values() -> None:
    images, scale = samples()
    values = torch.rand(5, 1)
    batch = Preparation(metadata())(images, scale)[0]
    prepared = Preparation(metadata()).prepare_batch(RawBatch(images, values, scale))
    assert torch.equal(prepared.images, batch)
    assert prepared.values is values
    assert prepared.auxiliary is None


def test_it_exports_for_any_batch_size() -> None:
    prepare = Preparation(
        metadata(),
        PreparationSettings(
            feature_types=list(channels.FEATURE_TYPES),
            feature_config={"normalize_spectrogram": True},
            auxiliary_features=["decay_time", "level", "range"],
            channel_selection=["*_envelope", "*normalized"],
        ),
    )
    prepare.fit(*samples(count=50))
    batch = torch.export.Dim("batch", min=2)
    program = torch.export.export(
        prepare, samples(count=4), dynamic_shapes=({0: batch}, {0: batch}), strict=False
    )
    inputs = samples(count=7)
    for ours, exported in zip(prepare(*inputs), program.module()(*inputs), strict=True):
        torch.testing.assert_close(exported, ours)


@pytest.mark.parametrize(
    ("labels", "arguments", "told"),
    [
        (["Gray"], {"feature_types": ["pitch"]}, "data.feature_types.*'pitch'.*spectral_slope"),
        (
            ["Gray"],
            {"feature_config": {"kernel": 3}},
            "data.feature_config.*'kernel'; there are normalize_spectrogram",
        ),
        (["Gray"], {"feature_config": {"kernel_size": 4}}, "kernel_size is 4"),
        (["Gray"], {"feature_config": {"eps": 0.0}}, "eps"),
        (["Gray"], {"auxiliary_features": ["pitch"]}, "data.auxiliary_features"),
        (["Gray"], {"channel_selection": ["R*"]}, r"'R\*' matches no channel; there are Gray"),
        (["Gray"], {"channel_selection": []}, "names no channel"),
        (["Gray_normalized"], {"feature_types": ENVELOPES}, "without --normalize"),
        (["Gray_normalized"], {"auxiliary_features": ["decay_time"]}, "temporal envelope"),
        (["Gray", "Gray_temporal_envelope"], {"feature_types": ENVELOPES}, "twice"),
    ],
)
def test_what_cannot_be_is_told(labels: list[str], arguments: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        Preparation(metadata(labels), PreparationSettings(**arguments))


@pytest.mark.parametrize(
    ("features", "config", "key"),
    [
        ([], {"kernel_size": 3}, "kernel_size"),
        ([], {"eps": 0.1}, "eps"),
        (["spectral_slope", "temporal_gradient"], {"kernel_size": 3}, "kernel_size"),
        (ENVELOPES, {"eps": 0.1}, "eps"),
        (ENVELOPES, {"normalize_spectrogram": False, "eps": 0.1}, "eps"),
    ],
)
def test_a_setting_that_no_derivation_reads_is_refused(
    features: list[str], config: dict[str, Any], key: str
) -> None:
    with pytest.raises(ConfigError, match=rf"^data\.feature_config\.{key} is .*nothing reads it"):
        Preparation(metadata(), PreparationSettings(feature_types=features, feature_config=config))


@pytest.mark.parametrize(
    ("features", "config"),
    [
        (["temporal_envelope"], {"kernel_size": 3}),
        (["spectral_envelope"], {"kernel_size": 3}),
        ([], {"normalize_spectrogram": True, "kernel_size": 3, "eps": 0.1}),
        ([], {"normalize_spectrogram": False, "kernel_size": None, "eps": 1e-8}),
    ],
)
def test_settings_that_are_read_change_the_image(
    features: list[str], config: dict[str, Any]
) -> None:
    images, levels = samples(count=2)
    plain, _ = Preparation(metadata(), PreparationSettings(feature_types=features))(images, levels)
    said, _ = Preparation(
        metadata(), PreparationSettings(feature_types=features, feature_config=config)
    )(images, levels)
    changes = bool(features) or config["normalize_spectrogram"]
    assert torch.equal(plain, said) != changes


def test_pictures_have_no_decay_time() -> None:
    with pytest.raises(ConfigError, match=r"decay_time needs the time of a frame.*sample_rate"):
        Preparation(
            metadata(sample_rate=None), PreparationSettings(auxiliary_features=["decay_time"])
        )


def test_pictures_have_no_level() -> None:
    with pytest.raises(
        ConfigError, match=r"data.auxiliary_features is \['level'\].*no levels in dB"
    ):
        Preparation(metadata(sample_rate=None), PreparationSettings(auxiliary_features=["level"]))

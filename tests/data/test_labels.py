import numpy as np
import pytest
import torch

from src.data.labels import LabelTables, soft_target_table
from src.utils.errors import ConfigError
from src.vimh.parameters import Parameter, ParameterSpace

VELOCITY = Parameter("note_velocity", min=126.0, max=127.0, step=0.5)
DECAY = Parameter("log10_decay_time", min=-2.0, max=0.3, step=0.1)
KIND = Parameter("kind", min=0.0, max=255.0, kind="categorical", class_names=("a", "b", "c"))
SPACE = ParameterSpace([VELOCITY, DECAY, KIND])
BYTES = torch.stack([torch.arange(256), 255 - torch.arange(256), torch.arange(256) % 3], dim=1)
BYTES = BYTES.to(torch.uint8)


def test_indices_are_those_of_the_format_for_every_byte() -> None:
    labels = LabelTables(SPACE).finish(BYTES)
    for j, parameter in enumerate(SPACE.values()):
        values = parameter.dequantise(BYTES[:, j].numpy())
        expected = BYTES[:, j] if parameter.is_categorical else parameter.class_of(values)
        assert labels[parameter.name].dtype == torch.int64
        assert labels[parameter.name].is_contiguous()
        np.testing.assert_array_equal(labels[parameter.name], expected)


def test_labels_keep_the_heads_order_whatever_their_kinds() -> None:
    kinds = {"note_velocity": "value", "log10_decay_time": "distribution", "kind": "index"}
    labels = LabelTables(SPACE, kinds, target_width=1.0).finish(BYTES)
    assert list(labels) == list(SPACE)
    torch.testing.assert_close(labels["note_velocity"], torch.arange(256) / 255)
    assert labels["note_velocity"].dtype == torch.float32
    assert labels["log10_decay_time"].shape == (256, 24)
    assert labels["kind"].dtype == torch.int64


def test_soft_targets_are_gaussians_around_the_class() -> None:
    table = soft_target_table(DECAY, width=1.5)
    own = torch.from_numpy(DECAY.class_table())
    for byte in (0, 100, 255):
        expected = np.exp(-((np.arange(24) - own[byte].item()) ** 2) / (2 * 1.5**2))
        np.testing.assert_allclose(table[byte], expected / expected.sum(), atol=1e-7)
    assert table.dtype == torch.float32
    torch.testing.assert_close(table.sum(dim=1), torch.ones(256))


def test_extremely_narrow_targets_are_one_hot_and_finite() -> None:
    table = soft_target_table(DECAY, width=1e-3)
    assert torch.isfinite(table).all()
    assert (table.argmax(dim=1) == torch.from_numpy(DECAY.class_table())).all()
    assert (table.max(dim=1).values == 1).all()


def test_target_width_softens_indices_but_not_categories() -> None:
    tables = LabelTables(SPACE, target_width=1.0)
    assert tables.kinds == {
        "note_velocity": "distribution",
        "log10_decay_time": "distribution",
        "kind": "index",
    }


@pytest.mark.parametrize(
    ("kinds", "width", "told"),
    [
        ({"cutoff": "index"}, 0.0, "cutoff.*note_velocity"),
        ({"kind": "ordinal"}, 0.0, "'ordinal'.*index, distribution, value"),
        ({"note_velocity": "distribution"}, 0.0, "data.target_width"),
        ({"kind": "distribution"}, 1.0, "categorical"),
    ],
)
def test_contradictions_are_told(kinds: dict[str, str], width: float, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        LabelTables(SPACE, kinds, width)

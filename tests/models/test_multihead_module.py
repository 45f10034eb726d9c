from functools import partial

import pytest
import torch
from torch import nn

from src.models.components import SimpleCNN
from src.models.losses import DirectParameterGradientLoss
from src.models.multihead_module import MultiheadLitModule
from src.vimh.parameters import Parameter

ADAM = partial(torch.optim.Adam, lr=1e-3)
VELOCITY = Parameter(name="note_velocity", min=126, max=127, step=0.5)
DECAY = Parameter(name="log10_decay_time", min=-2.0, max=0.3, step=0.1)


def _cnn(**heads) -> SimpleCNN:
    return SimpleCNN(input_channels=1, input_size=32, **heads)


def test_single_head_by_hand() -> None:
    module = MultiheadLitModule(
        net=_cnn(output_size=10), optimizer=ADAM, criterion=nn.CrossEntropyLoss()
    )
    images, labels = torch.rand(4, 1, 32, 32), torch.tensor([0, 3, 9, 9])
    loss, predictions, targets = module.model_step((images, labels))
    (name,) = predictions
    assert torch.equal(targets[name], labels.float())
    logits = module(images)[name]
    assert torch.allclose(loss, nn.functional.cross_entropy(logits, labels))
    assert torch.equal(predictions[name], logits.argmax(1).float())


def test_nothing_to_learn_from_is_an_error() -> None:
    with pytest.raises(ValueError, match="Must provide either"):
        MultiheadLitModule(
            net=_cnn(output_size=10), optimizer=ADAM, auto_configure_from_dataset=False
        )


def test_criterion_is_for_one_head() -> None:
    with pytest.raises(ValueError, match="single head"):
        MultiheadLitModule(net=_cnn(heads_config={"a": 2, "b": 3}), criterion=nn.CrossEntropyLoss())


def test_loss_is_the_weighted_sum_and_values_are_the_true_ones() -> None:
    module = _regression(loss_weights={"note_velocity": 0.25, "log10_decay_time": 2.0})
    images = torch.rand(3, 1, 32, 32)
    values = torch.tensor([[0, 255], [128, 128], [255, 51]]) / 255
    labels = {"note_velocity": values[:, 0], "log10_decay_time": values[:, 1]}
    loss, _, targets = module.model_step((images, labels, None, values))
    outputs = module(images)
    by_hand = 0.25 * ((outputs["note_velocity"][:, 0] - values[:, 0]) ** 2).mean() / 2
    by_hand += 2.0 * ((outputs["log10_decay_time"][:, 0] - values[:, 1]) ** 2).mean() / 2
    assert torch.allclose(loss, by_hand)
    assert targets["note_velocity"].tolist() == pytest.approx([126.0, 126 + 128 / 255, 127.0])
    assert targets["log10_decay_time"].tolist() == pytest.approx([0.3, -2 + 2.3 * 128 / 255, -1.54])


def test_margin_spreads_the_sigmoid_to_both_ends() -> None:
    head = _regression(head_margin=0.05).heads["note_velocity"]
    outputs = torch.tensor([[0.05 / 1.1], [0.5], [1.05 / 1.1], [1.0]])
    assert torch.allclose(head.decode(outputs), torch.tensor([126.0, 126.5, 127.0, 127.0]))


def test_auxiliary_features_reach_the_network() -> None:
    module = _regression(auxiliary_input_size=2)
    images = torch.rand(2, 1, 32, 32)
    labels = {"note_velocity": torch.zeros(2), "log10_decay_time": torch.zeros(2)}
    module.eval()
    first = module.model_step((images, labels, torch.zeros(2, 2)))
    second = module.model_step((images, labels, torch.ones(2, 2)))
    assert not torch.equal(first.loss, second.loss)


def test_output_mode_that_contradicts_the_loss() -> None:
    with pytest.raises(ValueError, match="output_mode is 'classification'"):
        _regression(output_mode="classification")


def test_logged_names_are_those_of_the_heads() -> None:
    names = _regression().logged_names
    assert {"val/mae_jnd", "val/jnd", "test/note_velocity_mae", "val/jnd_best"} <= set(names)
    assert not any(name.endswith("_acc") for name in names)


def _regression(auxiliary_input_size: int = 0, **arguments) -> MultiheadLitModule:
    parameters = [VELOCITY, DECAY]
    net = _cnn(
        heads_config={p.name: 1 for p in parameters},
        output_mode="regression",
        auxiliary_input_size=auxiliary_input_size,
    )
    return MultiheadLitModule(
        net=net,
        optimizer=ADAM,
        **{
            "criteria": {p.name: DirectParameterGradientLoss() for p in parameters},
            "parameters": parameters,
            "output_mode": "regression",
            **arguments,
        },
    )

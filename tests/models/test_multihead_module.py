import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn

from src.models.components import SimpleCNN, SimpleDenseNet
from src.models.losses import DirectParameterGradientLoss, head_loss
from src.models.multihead_module import MultiheadLitModule
from src.models.parameter_head import ParameterHead
from src.utils.errors import ConfigError
from src.vimh.parameters import Parameter

ADAM = partial(torch.optim.Adam, lr=1e-3)
VELOCITY = Parameter(name="note_velocity", min=126, max=127, step=0.5)
DECAY = Parameter(name="log10_decay_time", min=-2.0, max=0.3, step=0.1)
RISING = ("jnd", "note_velocity_jnd", "log10_decay_time_jnd")


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


@pytest.mark.parametrize("automatic", [True, False])
def test_a_network_that_names_no_heads_needs_a_loss_too(automatic: bool) -> None:
    with pytest.raises(ValueError, match="Must provide either"):
        MultiheadLitModule(
            net=nn.Linear(4, 2), optimizer=ADAM, auto_configure_from_dataset=automatic
        )
    with pytest.raises(ValueError, match="Linear does not say which heads it has"):
        MultiheadLitModule(net=nn.Linear(4, 2), criterion=nn.CrossEntropyLoss())


def test_heads_of_a_network_take_cross_entropy() -> None:
    module = MultiheadLitModule(net=_cnn(heads_config={"a": 5, "b": 3}), optimizer=ADAM)
    labels = {"a": torch.tensor([0, 4]), "b": torch.tensor([2, 1])}
    images = torch.rand(2, 1, 32, 32)
    outputs = module(images)
    expected = sum(nn.functional.cross_entropy(outputs[name], labels[name]) for name in labels)
    torch.testing.assert_close(module.model_step((images, labels)).loss, expected)


def test_values_have_no_loss_of_their_own() -> None:
    net = _cnn(output_mode="regression", parameter_names=["a"])
    with pytest.raises(ValueError, match="Must provide either"):
        MultiheadLitModule(net=net, optimizer=ADAM, output_mode="regression")


def test_a_step_works_without_a_trainer() -> None:
    module = MultiheadLitModule(net=_cnn(output_size=10), optimizer=ADAM)
    batch = (torch.rand(4, 1, 32, 32), torch.tensor([0, 3, 9, 9]))
    loss = module.training_step(batch, 0)
    loss.backward()
    assert module.net.heads.layers["head_output"].weight.grad is not None
    module.validation_step(batch, 0)
    plateau = partial(torch.optim.lr_scheduler.ReduceLROnPlateau)
    module.scheduler = plateau
    assert module.configure_optimizers()["lr_scheduler"]["frequency"] == 1


def test_a_missing_label_is_named() -> None:
    module = MultiheadLitModule(net=_cnn(heads_config={"a": 5, "b": 3}), optimizer=ADAM)
    images, labels = torch.rand(2, 1, 32, 32), torch.zeros(2, dtype=torch.int64)
    with pytest.raises(ValueError, match="labels lack b: there are a, c, and the heads are a, b"):
        module.training_step((images, {"a": labels, "c": labels}), 0)
    with pytest.raises(ValueError, match=r"labels are one tensor, but there are 2 heads \(a, b\)"):
        module.training_step((images, labels), 0)


@pytest.mark.parametrize(
    ("heads", "match"),
    [
        ({"note_velocity": 3, "decay": 24}, "no head 'log10_decay_time'; it has note_velocity, d"),
        (
            {"note_velocity": 3, "log10_decay_time": 23},
            "takes 24 outputs, but the network gives 23",
        ),
    ],
)
def test_a_network_that_does_not_fit_its_heads_is_refused(heads: dict, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        MultiheadLitModule(net=_cnn(heads_config=heads), parameters=[VELOCITY, DECAY])


@pytest.mark.parametrize("net", [SimpleDenseNet, SimpleCNN])
def test_a_batch_of_one_with_batch_norm_is_a_sentence(net: type) -> None:
    size = 32 if net is SimpleDenseNet else 4  # of 4x4 the second convolution leaves one pixel
    module = MultiheadLitModule(net=net(input_size=size, output_size=10), optimizer=ADAM)
    batch = (torch.rand(1, 1, size, size), torch.tensor([3]))
    with pytest.raises(ConfigError, match=rf"{net.__name__} .*BatchNorm.*data.batch_size to 2"):
        module.training_step(batch, 0)
    module.eval()
    module.validation_step(batch, 0)


@pytest.mark.parametrize("weights", [None, {}, {"note_velocity": None}])
def test_weights_that_are_not_given_follow_the_steps(weights: dict | None) -> None:
    heads = _regression(loss_weights=weights).heads
    assert heads["note_velocity"].weight == pytest.approx(2 / 23)
    assert heads["log10_decay_time"].weight == 1.0


def test_heads_that_are_just_classes_count_the_same() -> None:
    module = MultiheadLitModule(net=_cnn(heads_config={"a": 5, "b": 3}))
    assert {head.weight for head in module.heads.values()} == {1.0}


def test_learning_does_not_depend_on_the_unit_of_the_outputs() -> None:
    ranges = {"note_velocity": (126.0, 127.0), "log10_decay_time": (-2.0, 0.3)}
    plain, units = (
        _regression(parameter_ranges=found, head_margin=0.05) for found in (None, ranges)
    )
    units.load_state_dict(plain.state_dict())
    images, values = torch.rand(3, 1, 32, 32), torch.rand(3, 2)
    labels = {"note_velocity": values[:, 0], "log10_decay_time": values[:, 1]}
    outputs = units(images)
    assert all(126 <= value <= 127 for value in outputs["note_velocity"])
    expected, found = (m.model_step((images, labels, None, values)) for m in (plain, units))
    torch.testing.assert_close(found.loss, expected.loss, rtol=1e-4, atol=0)
    for name, step in (("note_velocity", 0.5), ("log10_decay_time", 0.1)):
        torch.testing.assert_close(
            found.predictions[name], expected.predictions[name], rtol=0, atol=1e-3 * step
        )


def test_learning_does_not_depend_on_units_whose_steps_are_ratios() -> None:
    pitch = Parameter("pitch", 100.0, 1000.0, 0.03, spacing="log")
    plain, units, even = (
        _of_parameters(pitch, parameter_ranges=found, head_margin=0.05)
        for found in (None, {"pitch": (100.0, 1000.0, "log")}, {"pitch": (100.0, 1000.0)})
    )
    for other in (units, even):
        other.load_state_dict(plain.state_dict())
    images, values = torch.rand(3, 1, 32, 32), torch.rand(3, 1)
    batch = (images, {"pitch": values[:, 0]}, None, values)
    assert all(100 <= value <= 1000 for value in units(images)["pitch"])
    expected, found = (module.model_step(batch) for module in (plain, units))
    torch.testing.assert_close(found.loss, expected.loss, rtol=1e-4, atol=0)
    torch.testing.assert_close(found.predictions["pitch"], expected.predictions["pitch"])
    for module in (plain, units):
        module.model_step(batch).loss.backward()
    for ours, theirs in zip(units.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-3, atol=1e-6)
    # A network that spaces its units evenly learns the same target by another way.
    outputs = even(images)["pitch"][:, 0]
    head = even.heads["pitch"]
    normalised = torch.log(outputs / 100.0) / math.log(10.0) * 1.1 - 0.05
    loss = 0.5 * (normalised - values[:, 0]).square().mean()
    torch.testing.assert_close(head(outputs[:, None], values[:, 0]), loss)


def test_a_narrower_range_is_one_of_the_predictions() -> None:
    module = _regression(parameter_ranges={"log10_decay_time": (-1.0, -0.5)}).eval()
    decay = module.predict(10 * torch.randn(20, 1, 32, 32))["log10_decay_time"]
    assert ((decay >= -1.0 - 1e-5) & (decay <= -0.5 + 1e-5)).all()


def test_heads_with_a_range_are_values_in_it() -> None:
    net = _cnn(
        output_mode="regression",
        parameter_names=["log10_decay_time"],
        parameter_ranges={"log10_decay_time": (-2.0, 0.3)},
    )
    module = MultiheadLitModule(
        net, criterion=DirectParameterGradientLoss(), output_mode="regression"
    )
    images = torch.rand(2, 1, 32, 32)
    step = module.model_step((images, torch.tensor([0.0, 0.5])))
    assert step.targets["log10_decay_time"].tolist() == pytest.approx([-2.0, -0.85])
    torch.testing.assert_close(
        step.predictions["log10_decay_time"], module(images)["log10_decay_time"][:, 0]
    )


def test_colliding_names_of_metrics_are_an_error_at_build_time() -> None:
    with pytest.raises(ConfigError, match=r"head 'x' and .* head 'x_mae' would both be logged"):
        _of_parameters(Parameter("x", 0.0, 1.0, 0.1), Parameter("x_mae", 0.0, 1.0, 0.1))


def test_the_module_knows_which_metrics_rise() -> None:
    directions = _regression().metric_directions
    rising = {name for name, direction in directions.items() if direction == "max"}
    assert rising == {
        *(f"{stage}/{name}" for stage in ("train", "val", "test") for name in RISING),
        "val/jnd_best",
    }
    assert directions["val/mae_best"] == directions["train/loss_step"] == "min"
    classes = MultiheadLitModule(net=_cnn(output_size=10)).metric_directions
    assert classes["val/acc"] == classes["val/acc_best"] == "max"
    assert set(_regression().logged_names) == set(directions)


@pytest.mark.parametrize(
    ("other", "monitor"),
    [
        (Parameter("pitch", 0.0, 1.0, 0.1), "val/mae_jnd"),
        (Parameter("cutoff", 0.0, 1.0), "val/loss"),
        (Parameter("type", 0.0, 255.0, kind="categorical", class_names=("a", "b")), "val/loss"),
    ],
)
def test_every_head_needs_a_step_for_the_error_in_steps(other: Parameter, monitor: str) -> None:
    criteria = {name: nn.CrossEntropyLoss() for name in (DECAY.name, other.name)}
    net = _cnn(heads_config={p.name: p.num_classes for p in (DECAY, other)})
    module = MultiheadLitModule(net, criteria=criteria, parameters=[DECAY, other])
    assert "val/mae_jnd" in module.logged_names
    assert module.default_monitor == monitor


def test_criterion_is_for_one_head() -> None:
    with pytest.raises(ValueError, match="single head"):
        MultiheadLitModule(net=_cnn(heads_config={"a": 2, "b": 3}), criterion=nn.CrossEntropyLoss())


def _heads() -> list[ParameterHead]:
    losses = (DirectParameterGradientLoss(), DirectParameterGradientLoss())
    return [
        ParameterHead(p, loss, weight, margin=0.05)
        for p, loss, weight in zip((VELOCITY, DECAY), losses, (0.25, 2.0), strict=True)
    ]


def test_heads_take_the_place_of_all_that_makes_them() -> None:
    net = _cnn(output_mode="regression", parameter_names=[VELOCITY.name, DECAY.name])
    given = MultiheadLitModule(net, heads=_heads())
    weights = {"note_velocity": 0.25, "log10_decay_time": 2.0}
    spelled = _regression(loss_weights=weights, head_margin=0.05)
    spelled.load_state_dict(given.state_dict())
    assert given.logged_names == spelled.logged_names
    batch = (torch.rand(3, 1, 32, 32), dict(zip(weights, torch.rand(2, 3), strict=True)))
    assert torch.equal(given.model_step(batch).loss, spelled.model_step(batch).loss)


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ({"criterion": nn.CrossEntropyLoss()}, "criterion"),
        ({"parameters": [VELOCITY, DECAY], "head_margin": 0.1}, "head_margin, parameters"),
        ({"output_mode": "regression"}, "output_mode"),
        ({"loss_weights": {"note_velocity": 1.0}}, "loss_weights"),
    ],
)
def test_heads_beside_what_they_replace_are_refused(arguments: dict, names: str) -> None:
    net = _cnn(output_mode="regression", parameter_names=[VELOCITY.name, DECAY.name])
    with pytest.raises(ValueError, match=f"heads and {names} are both given"):
        MultiheadLitModule(net, heads=_heads(), **arguments)


def test_heads_of_two_kinds_by_hand() -> None:
    net = _cnn(
        heads_config={"note_velocity": 1, "log10_decay_time": 24},
        activations={"note_velocity": "sigmoid", "log10_decay_time": "none"},
        output_mode="mixed",
    )
    criteria = {
        "note_velocity": DirectParameterGradientLoss(),
        "log10_decay_time": nn.CrossEntropyLoss(),
    }
    given = {"criteria": criteria, "parameters": [VELOCITY, DECAY], "loss_weights": {}}
    with pytest.raises(ValueError, match=r"'classification'.*'note_velocity'.*mixed, where heads"):
        MultiheadLitModule(net, **given)
    module = MultiheadLitModule(net, **given, output_mode="mixed").eval()
    images = torch.rand(2, 1, 32, 32)
    labels = {"note_velocity": torch.tensor([0.0, 1.0]), "log10_decay_time": torch.tensor([3, 23])}
    loss, predictions, targets = module.model_step((images, labels))
    outputs = module(images)
    by_hand = nn.functional.cross_entropy(outputs["log10_decay_time"], labels["log10_decay_time"])
    error = outputs["note_velocity"][:, 0] - labels["note_velocity"]
    torch.testing.assert_close(loss, by_hand + 2 / 23 * error.square().mean() / 2)
    assert targets["log10_decay_time"].tolist() == pytest.approx([-1.7, 0.3])
    probabilities = module.probabilities(outputs)
    assert list(probabilities) == ["log10_decay_time"]
    best = probabilities["log10_decay_time"].argmax(dim=1)
    assert predictions["log10_decay_time"].tolist() == pytest.approx((-2 + 0.1 * best).tolist())


def test_a_mixed_network_guesses_no_activation() -> None:
    with pytest.raises(ValueError, match="found none of b; where output_mode is 'mixed', expected"):
        _cnn(heads_config={"a": 1, "b": 3}, activations={"a": "sigmoid"}, output_mode="mixed")


def test_a_network_lacks_one_of_the_heads() -> None:
    net = _cnn(output_mode="regression", parameter_names=[VELOCITY.name])
    with pytest.raises(ValueError, match="no head 'log10_decay_time'; it has note_velocity"):
        MultiheadLitModule(net, heads=_heads())


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


def _regression(
    auxiliary_input_size: int = 0, parameter_ranges: dict | None = None, **arguments
) -> MultiheadLitModule:
    return _of_parameters(
        VELOCITY,
        DECAY,
        auxiliary_input_size=auxiliary_input_size,
        parameter_ranges=parameter_ranges,
        **arguments,
    )


def _of_parameters(
    *parameters: Parameter,
    auxiliary_input_size: int = 0,
    parameter_ranges: dict | None = None,
    **arguments,
) -> MultiheadLitModule:
    net = _cnn(
        heads_config={p.name: 1 for p in parameters},
        output_mode="regression",
        auxiliary_input_size=auxiliary_input_size,
        parameter_ranges=parameter_ranges,
    )
    return MultiheadLitModule(
        net=net,
        optimizer=ADAM,
        **{
            "criteria": {p.name: DirectParameterGradientLoss() for p in parameters},
            "parameters": list(parameters),
            "output_mode": "regression",
            **arguments,
        },
    )


def test_errors_are_judged_by_what_the_labels_are() -> None:
    """Of one step and a quarter of a byte: within a JND of a byte, not of an exact value."""
    module = MultiheadLitModule(
        net=_cnn(output_size=1, output_mode="regression"),
        optimizer=ADAM,
        parameters=[DECAY],
        loss=lambda parameter: head_loss(DirectParameterGradientLoss(), parameter),
        output_mode="regression",
    )
    error = DECAY.step + 0.25 * DECAY.range / 255
    for exact, share in ((False, 1.0), (True, 0.0), (False, 1.0)):
        module.judge_as({DECAY.name: replace(DECAY, exact=exact)})
        metrics = module.metrics[0].heads
        metrics.reset()
        metrics.update(torch.tensor([[-1.0]]), torch.tensor([[-1.0 + error]]))
        assert metrics.compute()[f"{DECAY.name}_jnd"] == share
        assert module.heads[DECAY.name].parameter.exact is exact
        assert module.heads[DECAY.name].wanted.parameter.exact is exact

"""What holds for every loss: configs, gradients, extremes, decoding, refusals."""

import inspect
import math
from pathlib import Path
from typing import Any

import hydra.utils
import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor, nn

from src.models import losses
from src.models.losses import HeadLoss, derive_loss_weights, head_loss
from src.models.losses.base import single_column
from src.vimh.parameters import Parameter

CONFIGS = sorted((Path(__file__).parents[3] / "configs" / "loss").glob("*.yaml"))
NAMES = [path.stem for path in CONFIGS]  # also of losses that were added since


def loss_class(name: str) -> type[nn.Module]:
    return hydra.utils.get_class(OmegaConf.load(CONFIGS[NAMES.index(name)])["_target_"])


CLASSES = {name: loss_class(name) for name in NAMES}
OURS = {name for name, cls in CLASSES.items() if cls.__name__ in losses.__all__} | {"ce"}
ORDERED = [name for name, cls in CLASSES.items() if issubclass(cls, HeadLoss) and cls.needs_order]
OF_VALUES = ["dg", "direct_regression", "normalized_regression", "jnd", "index", "beta_nll"]
NEED_STEP = [name for name, cls in CLASSES.items() if issubclass(cls, HeadLoss) and cls.needs_step]


def build(name: str, parameter: Parameter, **overrides: Any) -> HeadLoss:
    """As the build function does it: the data set's arguments under the config's own."""
    config = OmegaConf.load(CONFIGS[NAMES.index(name)])
    cls = hydra.utils.get_class(config["_target_"])
    derived = cls.arguments_from(parameter) if issubclass(cls, HeadLoss) else {}
    given = {key: value for key, value in config.items() if value is not None}
    return head_loss(hydra.utils.instantiate({**derived, **given, **overrides}), parameter)


def outputs_for(loss: HeadLoss, parameter: Parameter, batch: int = 6) -> Tensor:
    """Random outputs as the network would give them, float64."""
    outputs = torch.randn(batch, loss.outputs(parameter), dtype=torch.float64)
    return outputs.sigmoid() if loss.activation == "sigmoid" else outputs


def targets_for(loss: HeadLoss, parameter: Parameter, indices: list[int]) -> Tensor:
    """Labels of the loss's kind for class indices, float64 where they are floats."""
    index = torch.tensor(indices)
    if loss.target == "index":
        return index
    if loss.target == "value":
        return torch.from_numpy(parameter.normalise(parameter.value_of_class(indices)))
    distances = torch.arange(parameter.num_classes, dtype=torch.float64) - index[:, None]
    return torch.softmax(-0.5 * distances.square(), dim=1)


def perfect_outputs(loss: HeadLoss, parameter: Parameter, indices: list[int]) -> Tensor:
    """Outputs found by descending the loss until it is as small as it gets."""
    targets = targets_for(loss, parameter, indices).float()
    if loss.target == "index":
        targets = targets.long()
    raw = torch.zeros(len(indices), loss.outputs(parameter))
    raw += loss.initial_bias(parameter) or 0.0
    raw.requires_grad_(True)
    steps = 400
    adam = torch.optim.Adam([raw], lr=2.0 if loss.initial_bias(parameter) else 0.2)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
    for _ in range(steps):
        adam.zero_grad()
        loss(spread(loss, raw), targets).backward()
        adam.step()
        decay.step()
    return spread(loss, raw).detach()


def spread(loss: HeadLoss, raw: Tensor) -> Tensor:
    """The activation, and the head's margin of 0.05."""
    return raw.sigmoid() * 1.1 - 0.05 if loss.activation == "sigmoid" else raw


def test_there_is_a_config_for_each_loss() -> None:
    others = {"ce", "corn", "emd", "hl_gauss", "ordinal", "quantized_regression"}
    others |= {"soft_target", "weighted_ce"}
    assert set(NAMES) >= OURS >= set(OF_VALUES) | others
    exported = {getattr(losses, name) for name in losses.__all__} - {losses.CrossEntropyHead}
    concrete = {c for c in exported if isinstance(c, type) and issubclass(c, HeadLoss)}
    concrete = {c for c in concrete if not inspect.isabstract(c)}
    assert concrete | {nn.CrossEntropyLoss} <= set(CLASSES.values())


@pytest.mark.parametrize("path", CONFIGS, ids=NAMES)
def test_every_key_of_a_config_has_a_comment(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert lines[0].startswith("# ")
    if path.stem in OURS:
        assert lines[0].startswith(f"# docs/vimh_loss_functions.md#{path.stem}")
    keys = [line for line in lines[1:] if line and not line.startswith(("#", "_target_"))]
    assert all(" # " in line for line in keys), keys


@pytest.mark.parametrize("name", NAMES)
def test_gives_a_scalar_whose_gradient_is_that_of_its_value(name: str, decay: Parameter) -> None:
    # beta = 0: the stop-gradient of other betas is by design not the value's gradient.
    loss = build(name, decay, **({"beta": 0.0} if name == "beta_nll" else {}))
    outputs = outputs_for(loss, decay).requires_grad_(True)
    targets = targets_for(loss, decay, [0, 5, 11, 17, 22, 23])
    value = loss(outputs, targets)
    assert value.shape == ()
    assert torch.autograd.gradcheck(loss, (outputs, targets))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", NAMES)
def test_extremes_give_finite_losses_gradients_and_values(
    name: str, dtype: torch.dtype, decay: Parameter
) -> None:
    loss = build(name, decay)
    columns = loss.outputs(decay)
    huge = 6e4 if dtype == torch.float16 else 1e30
    levels = [0.0, 1.0] if loss.activation == "sigmoid" else [0.0, huge, -huge]
    rows = [torch.full((columns,), level) for level in levels]
    if columns > 1:  # certain of the first, and of the last
        rows += [-rows[1].clone(), -rows[1].clone()]
        rows[-2][0] = rows[-1][-1] = huge
    for first in (0, 23):
        outputs = torch.stack(rows).to(dtype).requires_grad_(True)
        targets = targets_for(loss, decay, [first] * len(rows))
        value = loss(outputs, targets if loss.target == "index" else targets.float())
        value.backward()
        assert value.dtype == torch.float32
        assert value.isfinite()
        assert outputs.grad is not None
        assert outputs.grad.isfinite().all()
        values = loss.decode(outputs.detach(), decay)
        assert values.dtype == torch.float32
        assert ((values >= -2.0) & (values <= torch.tensor(0.3))).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.sampled(3)
def test_the_best_output_decodes_to_the_value(
    name: str, decay: Parameter, velocity: Parameter, octaves: Parameter
) -> None:
    for parameter, indices in (
        (decay, [0, 1, 12, 22, 23]),
        (velocity, [0, 1, 2]),
        (octaves, [0, 1, 2]),
    ):
        loss = build(name, parameter)
        values = loss.decode(perfect_outputs(loss, parameter, indices), parameter)
        expected = torch.from_numpy(parameter.value_of_class(indices)).float()
        codec = parameter.codec
        # Within its tolerance of half a JND, that loss is as good as free.
        share = 0.5 if name == "jnd" else 0.1
        assert codec.error_in_steps(codec.error(values, expected)).abs().max() < share


@pytest.mark.parametrize("name", NAMES)
def test_a_head_of_ratios_learns_as_its_logarithm_does(name: str) -> None:
    """A frequency, and its base-10 logarithm with the same classes."""
    step, first = math.log10(1.1), 48
    logarithm = Parameter("log10_frequency", first * step, (first + 12) * step, step)
    hertz = Parameter("frequency", 1.1**first, 1.1 ** (first + 12), 0.1, spacing="log")
    ours, theirs = build(name, hertz), build(name, logarithm)
    assert ours.outputs(hertz) == theirs.outputs(logarithm)
    torch.manual_seed(0)
    outputs = outputs_for(ours, hertz)
    indices = [0, 1, 5, 6, 11, 12]
    losses, gradients = [], []
    for loss, parameter in ((ours, hertz), (theirs, logarithm)):
        inputs = outputs.clone().requires_grad_(True)
        cost = loss(inputs, targets_for(loss, parameter, indices))
        cost.backward()
        losses.append(cost.detach())
        assert inputs.grad is not None
        gradients.append(inputs.grad)
    # Losses in units count in steps of the natural logarithm here, of the base-10 one there.
    scaled = name in ("normalized_regression", "quantized_regression")
    factor = math.log(10.0) if scaled else 1.0
    if name != "ordinal":  # the sum of a scaled and another loss
        torch.testing.assert_close(losses[0], factor * losses[1])
        torch.testing.assert_close(gradients[0], factor * gradients[1])
    values = ours.decode(outputs, hertz)
    torch.testing.assert_close(values.log10(), theirs.decode(outputs, logarithm))
    assert ((values >= hertz.min) & (values <= hertz.max)).all()


@pytest.mark.parametrize("name", NAMES)
def test_the_best_output_decodes_without_a_step(name: str, stepless: Parameter) -> None:
    if name in NEED_STEP:
        with pytest.raises(ValueError, match=r"'cutoff' has no step.*loss=dg"):
            build(name, stepless)
        return
    loss = build(name, stepless)
    indices = [0, 100, 255]
    values = loss.decode(perfect_outputs(loss, stepless, indices), stepless)
    expected = torch.from_numpy(stepless.value_of_class(indices)).float()
    torch.testing.assert_close(values, expected, rtol=0, atol=0.15)


@pytest.mark.parametrize("name", ORDERED)
def test_ordered_losses_refuse_categorical_heads(name: str, digit: Parameter) -> None:
    with pytest.raises(ValueError, match="'digit' is categorical: choose loss=ce"):
        build(name, digit)


@pytest.mark.parametrize("name", NAMES)
def test_heads_of_one_class_are_refused(name: str) -> None:
    lone = Parameter("lone", 0.0, 0.2, 1.0)
    with pytest.raises(ValueError, match="head 'lone' has a single class"):
        build(name, lone)


def test_cross_entropy_reads_classes_of_a_categorical_head(digit: Parameter) -> None:
    loss = build("ce", digit)
    assert loss.outputs(digit) == 10
    assert loss.decode(10 * torch.eye(10), digit).tolist() == [float(n) for n in range(10)]
    assert not loss.accepts_soft_targets


def test_foreign_losses_are_refused(decay: Parameter) -> None:
    with pytest.raises(ValueError, match="MSELoss cannot be the loss of head 'log10_decay_time'"):
        head_loss(nn.MSELoss(), decay)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.sampled(2)
def test_probabilities_are_of_the_classes(
    name: str, dtype: torch.dtype, velocity: Parameter
) -> None:
    loss = build(name, velocity)
    found = loss.probabilities(perfect_outputs(loss, velocity, [0, 1, 2]).to(dtype))
    if found is None:
        assert loss.output_mode == "regression" or name == "hl_gauss"
        return
    assert found.dtype == torch.float32
    assert (found >= 0).all()
    torch.testing.assert_close(found.sum(dim=1), torch.ones(3))
    if name != "ordinal":  # which learns the mean
        assert found.argmax(dim=1).tolist() == [0, 1, 2]


def test_probabilities_by_hand(velocity: Parameter, decay: Parameter) -> None:
    logits = torch.tensor([[0.0, 0.0], [0.0, 99.0]])  # above 0: ½; above 1, given that: ½ or 1
    found = build("corn", velocity).probabilities(logits)
    assert found.tolist() == [[0.5, 0.25, 0.25], [0.5, 0.0, 0.5]]
    logits = torch.log(torch.tensor([[1.0, 2.0, 5.0]]))
    jnd = build("jnd", velocity, output_mode="classification").probabilities(logits)
    torch.testing.assert_close(jnd, torch.tensor([[0.125, 0.25, 0.625]]))


@pytest.mark.parametrize("name", NAMES)
def test_what_is_declared_fits_together(name: str, decay: Parameter) -> None:
    loss = build(name, decay)
    assert loss.output_mode in ("classification", "regression")
    assert loss.target in ("index", "distribution", "value")
    assert loss.activation in ("none", "sigmoid")
    assert loss.activation == "none" or loss.output_mode == "regression"
    assert loss.accepts_soft_targets or loss.target != "distribution"
    assert loss.gives_scalar
    assert loss.outputs(decay) >= 1


@pytest.mark.parametrize("name", sorted(OURS))
def test_declares_what_the_build_function_asks(name: str, decay: Parameter) -> None:
    loss = build(name, decay)
    values = name in OF_VALUES
    assert loss.output_mode == (
        "regression" if values or name == "quantized_regression" else "classification"
    )
    kinds = {"soft_target": "distribution", "hl_gauss": "value"}
    assert loss.target == kinds.get(name, "value" if values else "index")
    assert loss.activation == ("sigmoid" if values and name != "beta_nll" else "none")
    assert loss.accepts_soft_targets == (name in ("ce", "soft_target", "emd"))
    columns = {"corn": 23, "beta_nll": 2, "hl_gauss": 23 * 2 + 1 + 2 * 5}
    assert loss.outputs(decay) == columns.get(name, 1 if loss.output_mode == "regression" else 24)
    assert loss.initial_bias(decay) == (11.5 if name == "quantized_regression" else None)


@pytest.mark.parametrize("name", NAMES)
def test_buffers_follow_the_module_and_stay_out_of_checkpoints(name: str, decay: Parameter) -> None:
    loss = build(name, decay)
    assert not loss.state_dict()
    assert all(buffer.device.type == "meta" for buffer in loss.to("meta").buffers())
    tensors = [key for key, value in vars(loss).items() if isinstance(value, Tensor)]
    assert not tensors, "tensors that would stay behind"


@pytest.mark.parametrize("name", [n for n in NAMES if n not in ("ce", "soft_target")])
def test_targets_that_would_broadcast_are_refused(name: str, decay: Parameter) -> None:
    loss = build(name, decay)
    outputs = outputs_for(loss, decay)
    targets = targets_for(loss, decay, [0, 5, 11, 17, 22, 23])
    with pytest.raises(ValueError, match=r"target|same shape"):
        loss(outputs, targets[:1])


@pytest.mark.parametrize("name", NAMES)
def test_a_column_of_targets_is_one_target_a_sample(name: str, decay: Parameter) -> None:
    """Of values always; a loss on logits refuses it or says the same, and never broadcasts."""
    loss = build(name, decay)
    outputs = outputs_for(loss, decay)
    targets = targets_for(loss, decay, [0, 5, 11, 17, 22, 23])
    if targets.ndim == 2:
        return
    if loss.target == "value" or name == "quantized_regression":
        torch.testing.assert_close(loss(outputs, targets[:, None]), loss(outputs, targets))
        return
    with pytest.raises((ValueError, RuntimeError)):
        loss(outputs, targets[:, None])


def test_a_column_or_a_vector_is_one_number_a_sample() -> None:
    column = torch.rand(4, 1)
    assert single_column(column, nn.Identity()).equal(column[:, 0])
    assert single_column(column[:, 0], nn.Identity()).equal(column[:, 0])


@pytest.mark.parametrize("name", ["weighted_ce", "ordinal", "corn", "hl_gauss"])
def test_logits_of_another_size_are_refused(name: str, decay: Parameter) -> None:
    loss = build(name, decay)
    with pytest.raises(ValueError, match=r"loss.outputs\(parameter\)"):
        loss(torch.zeros(2, 7), targets_for(loss, decay, [0, 1]))


def test_loss_weights_are_proportional_to_the_number_of_steps(
    decay: Parameter, velocity: Parameter, stepless: Parameter, digit: Parameter
) -> None:
    weights = derive_loss_weights([decay, velocity, stepless, digit])
    assert weights == pytest.approx(
        {"log10_decay_time": 1.0, "note_velocity": 2 / 23, "cutoff": 1.0, "digit": 1.0}
    )
    assert derive_loss_weights({"cutoff": stepless}) == {"cutoff": 1.0}
    assert derive_loss_weights([velocity]) == {"note_velocity": 1.0}

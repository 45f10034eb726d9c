"""The end of every network: the auxiliary branch and one linear layer for each head.

All networks share these layers. A network only says how many features it has; which heads there
are, how wide they are and whether they end in a sigmoid comes from the losses and the data set.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, TypedDict, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from src.schema.bounds import Count, OptionalSize, Outputs, Real, Size, SpacedBounds
from src.vimh.codec import Codec, Spacing

OutputMode = Literal["classification", "regression"]
# Of all heads of a network: mixed where some are for classes and others for values.
HeadsMode = Literal["classification", "regression", "mixed"]
Activation = Literal["none", "sigmoid"]

# (min, max) of a head that gives values in units, and how they are spaced where that is log.
Range = tuple[float, float] | tuple[float, float, Spacing]

SINGLE_HEAD = "output"  # the head's name where `output_size` asks for one head without a name


class HeadOptions(TypedDict, total=False):
    """Keyword arguments that every network takes and passes on to `HeadLayers`."""

    heads_config: Mapping[str, Outputs] | None
    output_size: Outputs | None
    output_mode: HeadsMode
    parameter_names: Sequence[str] | None
    auxiliary_input_size: Count
    auxiliary_hidden_size: Size
    joint_size: OptionalSize
    activations: Mapping[str, Activation] | None
    output_bias: Mapping[str, float] | None
    parameter_ranges: Mapping[str, SpacedBounds] | None


class HeadLayers(nn.Module):
    """Turn image features, and auxiliary features where there are any, into one output per head.

    The auxiliary branch is Linear, ReLU, Dropout (half the network's), Linear, ReLU; what it gives
    is put behind the image features. Each head is one linear layer on both, with a sigmoid where
    its activation says so. That adds what image and auxiliary features say; where one of them
    changes what the other means (a level that a filter in the image has taken from), `joint_size`
    puts a layer in between.

    Args:
        num_features: Number of image features F.
        dropout: The network's dropout rate; the auxiliary branch uses half of it.
        heads_config: Number of outputs K by head name; empty is None.
        output_size: Number of outputs of a single head without a name, instead of `heads_config`;
            `forward` then returns a plain tensor.
        output_mode: "classification" gives logits, "regression" values in 0...1; "mixed": each head
            what its activation says.
        parameter_names: The heads' order; empty is None. In regression without `heads_config`,
            these are the heads, with one output each.
        auxiliary_input_size: Number of auxiliary features A, 0 for none.
        auxiliary_hidden_size: Width of both layers of the auxiliary branch.
        joint_size: Width of a hidden layer (Linear, ReLU) on image and auxiliary features together,
            before the heads; 0 for none.
        activations: "none" or "sigmoid" by head name; None: a sigmoid on every head in regression
            and on none in classification. Where mixed, every head has to be named.
        output_bias: Where the bias of a head's layer starts, by head name. Heads that are not
            named keep PyTorch's initialisation.
        parameter_ranges: (min, max) by head name, in the parameter's unit, or (min, max, "log")
            where its spacing is log: these heads, which end in a sigmoid, give min...max instead of
            0...1. Empty is None: all give 0...1.

    Raises:
        ValueError: The arguments name no heads, contradict each other or are out of range.

    Example:
        >>> heads = HeadLayers(8, heads_config={"pitch": 24, "level": 3}, auxiliary_input_size=2)
        >>> outputs = heads(torch.zeros(5, 8), torch.zeros(5, 2))
        >>> {name: tuple(output.shape) for name, output in outputs.items()}
        {'pitch': (5, 24), 'level': (5, 3)}
        >>> tuple(HeadLayers(8, output_size=10)(torch.zeros(5, 8)).shape)
        (5, 10)
        >>> heads = HeadLayers(
        ...     8, output_mode="regression", parameter_ranges={"decay": (-2.0, 0.3)},
        ...     parameter_names=["decay"], output_bias={"decay": 0.0},
        ... )
        >>> round(heads(torch.zeros(1, 8))["decay"].item(), 3)  # a sigmoid of 0.5, in units
        -0.85
    """

    def __init__(
        self,
        num_features: int,
        *,
        dropout: float = 0.0,
        heads_config: Mapping[str, int] | None = None,
        output_size: int | None = None,
        output_mode: HeadsMode = "classification",
        parameter_names: Sequence[str] | None = None,
        auxiliary_input_size: int = 0,
        auxiliary_hidden_size: int = 32,
        joint_size: int = 0,
        activations: Mapping[str, Activation] | None = None,
        output_bias: Mapping[str, float] | None = None,
        parameter_ranges: Mapping[str, Sequence[Real | str]] | None = None,
    ) -> None:
        super().__init__()
        if output_mode not in get_args(HeadsMode):
            raise ValueError(
                f"output_mode: expected one of {', '.join(get_args(HeadsMode))}, "
                f"found {output_mode!r}"
            )
        self.output_mode = output_mode
        self.heads_config = _resolve_heads(
            heads_config or None, output_size, output_mode, parameter_names or None
        )
        self.is_single = output_size is not None
        self.activations = _resolve_activations(activations, self.heads_config, output_mode)
        self.parameter_ranges = _resolve_ranges(parameter_ranges or {}, self.activations)
        self._codecs = {n: Codec.between(*ends) for n, ends in self.parameter_ranges.items()}
        self.auxiliary_input_size = auxiliary_input_size
        self.num_features = num_features  # of the image

        self.auxiliary: nn.Sequential | None = None
        if auxiliary_input_size > 0:
            self.auxiliary = nn.Sequential(
                nn.Linear(auxiliary_input_size, auxiliary_hidden_size),
                nn.ReLU(),
                nn.Dropout(dropout / 2),
                nn.Linear(auxiliary_hidden_size, auxiliary_hidden_size),
                nn.ReLU(),
            )
            num_features += auxiliary_hidden_size
        self.joint: nn.Sequential | None = None
        if joint_size > 0:
            self.joint = nn.Sequential(nn.Linear(num_features, joint_size), nn.ReLU())
            num_features = joint_size
        self.layers = nn.ModuleDict(
            {head_key(name): nn.Linear(num_features, k) for name, k in self.heads_config.items()}
        )
        self._set_output_bias(output_bias or {})

    def forward(
        self,
        features: Float[Tensor, "B F"],
        auxiliary: Float[Tensor, "B A"] | None = None,
    ) -> dict[str, Float[Tensor, "B _"]] | Float[Tensor, "B _"]:
        """Compute every head's output, (B, K) by name, or one tensor when built with `output_size`.

        Standardised auxiliary features are needed exactly when the layers were built with
        `auxiliary_input_size` > 0.

        Raises:
            ValueError: Auxiliary features are missing, not expected or of another number.
        """
        if self.auxiliary is not None:
            features = torch.cat([features, self.auxiliary(self._checked(auxiliary))], dim=1)
        elif auxiliary is not None:
            raise ValueError(
                f"Got {auxiliary.shape[1]} auxiliary features, but the network was built without: "
                "set auxiliary_input_size, or take auxiliary_features out of the data config"
            )
        if self.joint is not None:
            features = self.joint(features)
        outputs = {}
        for name, activation in self.activations.items():
            output = self.layers[head_key(name)](features)
            outputs[name] = output.sigmoid() if activation == "sigmoid" else output
            if name in self.parameter_ranges:
                # Half precision has no digits for 126...127.
                wide = torch.promote_types(output.dtype, torch.float32)
                outputs[name] = self._codecs[name].denormalise(outputs[name].to(wide))
        return outputs[SINGLE_HEAD] if self.is_single else outputs

    def _checked(self, auxiliary: Tensor | None) -> Tensor:
        if auxiliary is not None and torch.jit.is_tracing():  # sizes cannot be compared then
            return auxiliary
        expected = self.auxiliary_input_size
        if auxiliary is None or auxiliary.ndim != 2 or auxiliary.shape[1] != expected:
            found = "none" if auxiliary is None else f"shape {tuple(auxiliary.shape)}"
            raise ValueError(
                f"Expected auxiliary features of shape (B, {expected}), found {found}: "
                "data.auxiliary_features must be what the network was built for"
            )
        return auxiliary

    def _set_output_bias(self, output_bias: Mapping[str, float]) -> None:
        _check_names("output_bias", output_bias, self.heads_config)
        with torch.no_grad():
            for name, bias in output_bias.items():
                layer = self.layers[head_key(name)]
                assert isinstance(layer, nn.Linear)
                layer.bias.fill_(bias)


def head_key(name: str) -> str:
    """Make a head's name fit for `nn.ModuleDict`, which takes no dots and no names of its own."""
    return "head_" + name.replace(".", "%2E")


def _resolve_heads(
    heads_config: Mapping[str, int] | None,
    output_size: int | None,
    output_mode: HeadsMode,
    parameter_names: Sequence[str] | None,
) -> dict[str, int]:
    """Return the number of outputs by head name, in order, from the ways to say it."""
    if heads_config is not None and output_size is not None:
        raise ValueError(
            f"heads_config {dict(heads_config)} and output_size {output_size} exclude each other: "
            "give heads_config for named heads, output_size for a plain tensor"
        )
    if output_size is not None:
        heads = {SINGLE_HEAD: output_size}
    elif heads_config is not None:
        heads = dict(heads_config)
        if parameter_names is not None:
            _check_names("heads_config", heads, parameter_names)
            _check_names("parameter_names", parameter_names, heads)
            heads = {name: heads[name] for name in parameter_names}
    elif parameter_names is not None and output_mode == "regression":
        heads = dict.fromkeys(parameter_names, 1)
    else:
        heads = {}
    if not heads:
        raise ValueError(
            "No heads: expected heads_config {name: number of outputs}, or output_size, or in "
            "regression parameter_names"
        )
    for name, size in heads.items():
        if size < 1:
            raise ValueError(f"heads_config.{name}: expected at least 1 output, found {size}")
    return heads


def _resolve_activations(
    activations: Mapping[str, Activation] | None,
    heads_config: Mapping[str, int],
    output_mode: HeadsMode,
) -> dict[str, Activation]:
    """Return every head's activation, in the order of the heads."""
    default: Activation = "sigmoid" if output_mode == "regression" else "none"
    given = activations or {}
    _check_names("activations", given, heads_config)
    if output_mode == "mixed" and (missing := [name for name in heads_config if name not in given]):
        raise ValueError(
            f"activations: found none of {', '.join(missing)}; where output_mode is 'mixed', "
            "expected one for each head"
        )
    for name, activation in given.items():
        if activation not in ("none", "sigmoid"):
            raise ValueError(
                f"activations.{name}: expected 'none' or 'sigmoid', found {activation!r}"
            )
    return {name: given.get(name, default) for name in heads_config}


def _resolve_ranges(
    ranges: Mapping[str, Sequence[Real | str]], activations: Mapping[str, Activation]
) -> dict[str, Range]:
    """Return the ranges of the heads that give values in units."""
    _check_names("parameter_ranges", ranges, activations)
    found: dict[str, Range] = {}
    for name, bounds in ranges.items():
        if activations[name] != "sigmoid":
            raise ValueError(
                f"parameter_ranges.{name}: only a head that ends in a sigmoid has a range, and "
                "this one gives plain numbers or logits: take it out, or choose a regression loss "
                "with a sigmoid (loss=dg, loss=direct_regression)"
            )
        found[name] = _range(name, bounds)
    return found


def _range(name: str, given: Sequence[Real | str]) -> Range:
    """Return one range as it is kept."""
    match list(given):
        case [int() | float() as low, int() | float() as high, *spacing] if (
            float("-inf") < low < high < float("inf")
        ):
            if spacing in ([], ["linear"]):
                return (float(low), float(high))
            if spacing == ["log"] and low > 0:
                return (float(low), float(high), "log")
    raise ValueError(
        f"parameter_ranges.{name}: expected two finite numbers (min, max) with min < max, or with "
        f"0 < min < max and 'log' behind them, found {list(given)}"
    )


def _check_names(
    argument: str,
    names: Mapping[str, object] | Sequence[str],
    known: Mapping[str, object] | Sequence[str],
) -> None:
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"{argument}: unknown heads {unknown}; there are {list(known)}")

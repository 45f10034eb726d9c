"""What a network computes, read off the network itself: layers, shapes, weights, work.

The network is exported once (`torch.export`), in evaluation mode, on two images of the data set's
shape. Every operation knows the layer it belongs to, so that layers, residual additions and
branches are what the network really does, whatever its config is called.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from math import prod
from typing import Any

import torch
from torch import Tensor, fx, nn

from src.models.components import MultiheadNetwork
from src.models.components.vision_transformer import SelfAttention

BATCH = 2  # an exported size of 1 is special to torch

# Operations that only look at the same numbers in another way; they are no layers.
VIEWS = {
    "clone",
    "contiguous",
    "flatten",
    "permute",
    "reshape",
    "select",
    "squeeze",
    "to",
    "transpose",
    "unflatten",
    "unsqueeze",
    "view",
}
# Modules with layers inside that are one thing to the reader.
ATOMIC = (nn.MultiheadAttention, SelfAttention)


@dataclass
class Step:
    """One layer, or one operation between layers.

    Attributes:
        path: The layer's name in the network; for an operation, of the module that does it.
        kind: The layer's class, or the operation ("add", "mean", "cat").
        detail: The layer's sizes in words.
        is_layer: Whether it is a layer; else an operation.
        inputs: Indices of the steps whose results it uses; -1 the image, -2 the auxiliary features.
        shape: Of its result, without the batch.
        parameters: Number of weights.
        macs: Multiply-accumulate operations for one image, in convolutions and matrix products.
        block: Path and class of the block (a residual block, say) that it belongs to, or None.
    """

    path: str
    kind: str
    detail: str
    is_layer: bool
    inputs: list[int] = field(default_factory=list)
    shape: tuple[int, ...] = ()
    parameters: int = 0
    macs: int = 0
    block: tuple[str, str] | None = None


@dataclass(frozen=True)
class Trace:
    """A network as a list of steps in the order of computation.

    Attributes:
        image_shape: (C, H, W).
        auxiliary_size: Number of auxiliary features, 0 for none.
        steps: All of them.
        outputs: The index of each head's last step, by head.
    """

    image_shape: tuple[int, int, int]
    auxiliary_size: int
    steps: list[Step]
    outputs: dict[str, int]

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(step.parameters for step in self.steps)

    @property
    def macs(self) -> int:
        """Multiply-accumulate operations for one image."""
        return sum(step.macs for step in self.steps)


def trace(network: MultiheadNetwork) -> Trace:
    """Export a network and read its steps.

    Args:
        network: Any of the project's networks; left in evaluation mode.
    """
    exported = torch.export.export(network.eval(), network.example_inputs(BATCH))
    reader = _Reader(network, exported)
    for node in exported.graph.nodes:
        if node.op == "call_function":
            reader.read(node)
    (output,) = (node for node in exported.graph.nodes if node.op == "output")
    last = [reader.source[node] for node in output.args[0]]
    return Trace(
        network.image_shape,
        network.heads.auxiliary_input_size,
        reader.steps,
        dict(zip(network.heads_config, last, strict=True)),
    )


class _Reader:
    """Group an exported graph's operations into steps."""

    def __init__(self, network: nn.Module, exported: torch.export.ExportedProgram) -> None:
        self.network = network
        self.steps: list[Step] = []
        self.source: dict[fx.Node, int] = {}  # the step, or the input, that a node's numbers are of
        self._by_path: dict[str, int] = {}
        self._weights: dict[str, nn.Parameter] = {}
        signature = exported.graph_signature
        weights = dict(network.named_parameters())
        for name, target in signature.inputs_to_parameters.items():
            self._weights[name] = weights[target]
        for number, name in enumerate(signature.user_inputs):
            (node,) = (n for n in exported.graph.nodes if n.name == name)
            self.source[node] = -1 - number

    def read(self, node: fx.Node) -> None:
        """Take one operation."""
        arguments = [a for a in node.all_input_nodes if a in self.source]
        module_stack = [path for path, _ in node.meta.get("nn_module_stack", {}).values()]
        layer = self._layer(module_stack)
        operation = node.target.__name__.split(".")[0].removesuffix("_")  # type: ignore[union-attr]
        if (layer is None and operation in VIEWS) or self._is_idle(layer):
            self.source[node] = self.source[arguments[0]]
            return
        index = self._step(layer, operation, module_stack)
        step = self.steps[index]
        self.source[node] = index
        if isinstance(node.meta["val"], Tensor):  # and not a list of chunks
            step.shape = tuple(node.meta["val"].shape[1:])
        step.inputs += [
            found
            for argument in arguments
            if (found := self.source[argument]) != index and found not in step.inputs
        ]
        step.macs += _macs(node) // BATCH
        for argument in node.all_input_nodes:
            if argument.name in self._weights:
                step.parameters += self._weights.pop(argument.name).numel()

    def _layer(self, module_stack: Iterable[str]) -> str | None:
        """The path of the first module on the way down that has nothing to show inside."""
        for path in module_stack:
            module = self.network.get_submodule(path)
            if isinstance(module, ATOMIC) or not any(module.children()):
                return path
        return None

    def _is_idle(self, layer: str | None) -> bool:
        module = None if layer is None else self.network.get_submodule(layer)
        return isinstance(module, nn.Dropout) and module.p == 0

    def _step(self, layer: str | None, operation: str, module_stack: list[str]) -> int:
        if layer is not None and layer in self._by_path:
            return self._by_path[layer]
        block = _block(self.network, module_stack)
        if layer is None:
            self.steps.append(Step(module_stack[-1], operation, "", is_layer=False, block=block))
        else:
            module = self.network.get_submodule(layer)
            kind = type(module).__name__
            self.steps.append(Step(layer, kind, describe(module), is_layer=True, block=block))
            self._by_path[layer] = len(self.steps) - 1
        return len(self.steps) - 1


def _block(network: nn.Module, module_stack: Iterable[str]) -> tuple[str, str] | None:
    """The outermost module on the way down that is no mere container of layers."""
    for path in module_stack:
        module = network.get_submodule(path)
        is_container = isinstance(module, nn.Sequential | nn.ModuleList | nn.ModuleDict) or any(
            isinstance(child, nn.ModuleList | nn.ModuleDict) for child in module.children()
        )
        if path and not is_container:
            has_layers = any(module.children()) and not isinstance(module, ATOMIC)
            return (path, type(module).__name__) if has_layers else None
    return None


def describe(module: nn.Module) -> str:
    """A layer's sizes in words.

    Example:
        >>> describe(nn.Conv2d(1, 16, 3, stride=2)), describe(nn.Linear(8, 3))
        ('1→16, 3×3, stride 2', '8→3')
    """
    if isinstance(module, nn.Conv2d):
        words = [f"{module.in_channels}→{module.out_channels}", _pair(module.kernel_size)]
        if module.stride != (1, 1):
            height, width = module.stride
            words.append(f"stride {height if height == width else _pair(module.stride)}")
        if module.groups == module.in_channels > 1:
            words.append("depthwise")
        elif module.groups > 1:
            words.append(f"{module.groups} groups")
        return ", ".join(words)
    if isinstance(module, nn.Linear):
        return f"{module.in_features}→{module.out_features}"
    if isinstance(module, nn.MaxPool2d | nn.AvgPool2d):
        return _pair(module.kernel_size)
    if isinstance(module, nn.MultiheadAttention):
        return f"{module.num_heads} heads"
    if isinstance(module, SelfAttention):
        return f"{module.n_attention_heads} heads"
    if isinstance(module, nn.Dropout):
        return f"{module.p:g}"
    return ""


def _pair(size: Any) -> str:
    height, width = (size, size) if isinstance(size, int) else size
    return f"{height}×{width}"


def _macs(node: fx.Node) -> int:
    """Multiply-accumulates of a convolution or matrix product; 0 for everything else."""
    count = MACS.get(node.target.__name__.split(".")[0])  # type: ignore[union-attr]
    if count is None:
        return 0
    shapes = [tuple(a.meta["val"].shape) for a in node.args if isinstance(a, fx.Node)]
    return count(shapes, tuple(node.meta["val"].shape))


Shape = tuple[int, ...]
# By operation: input shapes and output shape to multiply-accumulates.
MACS: dict[str, Callable[[list[Shape], Shape], int]] = {
    "conv2d": lambda ins, out: prod(out) * prod(ins[1][1:]),
    "linear": lambda ins, out: prod(out) * ins[0][-1],
    "matmul": lambda ins, out: prod(out) * ins[0][-1],
    # query by key, then the result by value
    "scaled_dot_product_attention": lambda ins, _: prod(ins[0]) * (ins[1][-2] + ins[2][-2]),
}

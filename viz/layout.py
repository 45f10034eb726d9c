"""Steps arranged as a picture: columns of boxes, blocks around them, arrows between them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from viz.trace import Step, Trace

# Layers that are written into the box before them: they change no shape.
FOLDED = {
    "BatchNorm1d",
    "BatchNorm2d",
    "ReLU",
    "SiLU",
    "GELU",
    "gelu",
    "silu",
    "relu",
    "sigmoid",
    "Dropout",
    "Flatten",
    "ChannelNorm",
    "LayerNorm",
}
IMAGE, AUXILIARY = -1, -2  # the indices of the inputs, as in Step.inputs


@dataclass
class Box:
    """One box of the picture.

    Attributes:
        steps: The steps in it: one layer or operation, and what is folded into it.
        inputs: The boxes whose results it uses (of the whole picture), or IMAGE, AUXILIARY.
        block: The class of the block it belongs to and the number of the block, or None.
        head: The parameter, where it is a head.
    """

    steps: list[Step]
    inputs: list[int]
    block: tuple[str, int] | None = None
    head: str | None = None

    @property
    def is_sum(self) -> bool:
        """Whether it only adds or multiplies what arrives."""
        first = self.steps[0]
        return not first.is_layer and first.kind in {"add", "mul"} and not first.parameters


@dataclass
class Column:
    """A column of boxes.

    Attributes:
        title: The part of the network.
        boxes: Numbers of its boxes, from the top.
    """

    title: str
    boxes: list[int] = field(default_factory=list)


@dataclass
class Picture:
    """What is drawn.

    Attributes:
        trace: The network.
        boxes: All boxes; repeated blocks are there once.
        columns: From left to right.
        repeats: How often a block of this number stands in a row.
    """

    trace: Trace
    boxes: list[Box]
    columns: list[Column]
    repeats: dict[int, int]


def arrange(traced: Trace) -> Picture:
    """Arrange a network as columns, one for each part, with repeated blocks drawn once.

    Args:
        traced: The network.
    """
    heads = {index: name for name, index in traced.outputs.items()}
    kept, repeats, stands_for = _without_repeats(traced)
    boxes: list[Box] = []
    columns: list[Column] = []
    box_of: dict[int, int] = {IMAGE: IMAGE, AUXILIARY: AUXILIARY}
    used = _uses(traced)
    for index in kept:
        step = traced.steps[index]
        inputs = [box_of[stands_for.get(i, i)] for i in step.inputs]
        previous = traced.steps[step.inputs[0]] if step.inputs and step.inputs[0] >= 0 else None
        title = _column(traced, index)
        if _folds(step, previous, inputs, boxes, used) and columns[-1].title == title:
            boxes[-1].steps.append(step)
        else:
            block = None if step.block is None else (step.block[1], repeats[step.block[0]][0])
            boxes.append(Box([step], inputs, block))
            if not columns or columns[-1].title != title:
                columns.append(Column(title))
            columns[-1].boxes.append(len(boxes) - 1)
        box_of[index] = len(boxes) - 1
        if index in heads:
            boxes[-1].head = heads[index]
    return Picture(traced, boxes, columns, dict(repeats.values()))


def _folds(
    step: Step, previous: Step | None, inputs: list[int], boxes: list[Box], used: list[int]
) -> bool:
    """Whether a step goes into the last box: it follows it, and nothing else does."""
    if not boxes or step.kind not in FOLDED or previous is None:
        return False
    last = boxes[-1]
    return (
        inputs == [len(boxes) - 1]
        and last.steps[-1] is previous
        and not last.is_sum
        and used[step.inputs[0]] == 1
        and step.block == previous.block
        and last.steps[0].kind not in FOLDED
    )


def _uses(traced: Trace) -> list[int]:
    counts = [0] * len(traced.steps)
    for step in traced.steps:
        for i in step.inputs:
            if i >= 0:
                counts[i] += 1
    return counts


def _column(traced: Trace, index: int) -> str:
    """The part of the network that a step belongs to; operations between parts join the last."""
    parts = traced.steps[index].path.split(".")
    if parts[:2] == ["heads", "auxiliary"]:
        return "auxiliary"
    if parts[0] == "stages":
        return f"stage {int(parts[1]) + 1}"
    if parts[0]:
        return parts[0]
    return _column(traced, index - 1) if index else "input"


def _without_repeats(
    traced: Trace,
) -> tuple[list[int], dict[str, tuple[int, int]], dict[int, int]]:
    """Keep the first of equal blocks in a row.

    Returns:
        The steps that are kept; by block, the number of the picture's block and how many it
        stands for; and, for each step that is left out, the kept one that it equals.
    """
    blocks: dict[str, list[int]] = {}
    for index, step in enumerate(traced.steps):
        if step.block is not None:
            blocks.setdefault(step.block[0], []).append(index)
    repeats: dict[str, tuple[int, int]] = {}
    stands_for: dict[int, int] = {}
    first = last = ""  # of a row of equal blocks
    for path, steps in blocks.items():
        if last and _equal(traced, blocks[last], steps):
            number, count = repeats[first]
            repeats[first] = (number, count + 1)
            stands_for |= dict(zip(steps, blocks[first], strict=True))
        else:
            first = path
            repeats[path] = (len(repeats), 1)
        last = path
    kept = [index for index in range(len(traced.steps)) if index not in stands_for]
    return kept, repeats, stands_for


def _equal(traced: Trace, first: Iterable[int], second: Iterable[int]) -> bool:
    """Whether two blocks follow each other and do the same."""
    first, second = list(first), list(second)
    if first[-1] + 1 != second[0] or len(first) != len(second):
        return False

    def facts(steps: list[int], index: int) -> tuple[object, ...]:
        step = traced.steps[index]
        # Whatever comes from before the block is its input.
        inputs = [max(i - steps[0], -1) for i in step.inputs]
        return (step.kind, step.detail, step.shape, step.parameters, inputs)

    return all(
        facts(first, a) == facts(second, b) for a, b in zip(first, second, strict=True)
    ) and (traced.steps[first[-1]].shape == _input_shape(traced, first[0]))


def _input_shape(traced: Trace, index: int) -> tuple[int, ...]:
    (source, *_) = traced.steps[index].inputs
    return traced.image_shape if source < 0 else traced.steps[source].shape

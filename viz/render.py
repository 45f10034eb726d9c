"""Draws an arranged network with matplotlib, as SVG and PNG."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch, Rectangle

from viz.layout import AUXILIARY, IMAGE, Box, Picture

# Everything in inches; y grows upwards, the columns hang from y = 0.
WIDTH, GUTTER = 1.95, 1.0  # of a box, and between columns
LINE, PAD = 0.155, 0.055  # height of a line of text, and above and below the lines
GAP = 0.24  # between boxes: an arrow and the shape beside it
SUM_RADIUS = 0.11
LANE = 0.55  # how far above the columns the arrows between them run
OUTLINE = (0.3, 0.48)  # of a block: how far it is left and right of its boxes
ABOVE_BLOCK = 0.42  # room for the outline of a block and its name
MAX_CHARACTERS = 30  # of a line in a box
DOTS_PER_INCH = 150
COLOURS = {
    "convolution": "#cfe3f5",
    "dense": "#f9dcc0",
    "attention": "#e3d4f0",
    "pooling": "#d3ecd1",
    "normalisation": "#f3efc4",
    "other": "#ececec",
    "head": "#f5c9c9",
}


@dataclass(frozen=True)
class Place:
    """Where a box stands: the middle of its top, and its height."""

    x: float
    top: float
    height: float
    half_width: float

    @property
    def bottom(self) -> float:
        """The y of its lower edge."""
        return self.top - self.height

    @property
    def middle(self) -> float:
        """The y of its middle."""
        return self.top - self.height / 2


def draw(picture: Picture, title: str, stem: Path) -> list[Path]:
    """Draw a picture and write it.

    Args:
        picture: The arranged network.
        title: Written above it.
        stem: The files' path without suffix.

    Returns:
        The SVG and the PNG.
    """
    places = places_of(picture)
    right = (len(picture.columns) + 1) * (WIDTH + GUTTER)
    lowest = min(place.bottom for place in places.values()) - 0.55
    top = LANE + 0.75
    with plt.rc_context({"svg.fonttype": "none", "svg.hashsalt": stem.name, "font.size": 8}):
        figure = plt.figure(figsize=(right, top - lowest))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(-GUTTER / 2, right - GUTTER / 2), ylim=(lowest, top))
        axes.axis("off")
        axes.text(0, top - 0.14, title, va="top", fontsize=10, fontweight="bold")
        _draw_blocks(axes, picture, places)
        _draw_columns(axes, picture, places)
        _draw_arrows(axes, picture, places)
        _draw_inputs(axes, picture, places)
        for number, box in enumerate(picture.boxes):
            _draw_box(axes, box, places[number])
        _draw_legend(axes, picture, lowest + 0.1)
        stem.parent.mkdir(parents=True, exist_ok=True)
        paths = [stem.with_suffix(suffix) for suffix in (".svg", ".png")]
        for path in paths:
            metadata = {"Date": None} if path.suffix == ".svg" else None
            figure.savefig(path, dpi=DOTS_PER_INCH, metadata=metadata)
        plt.close(figure)
    return paths


def colour_of(box: Box) -> str:
    """Which of COLOURS a box is of."""
    kind = box.steps[0].kind
    if box.head is not None:
        return "head"
    for name, part in (
        ("convolution", "Conv"),
        ("dense", "Linear"),
        ("attention", "Attention"),
        ("pooling", "Pool"),
        ("normalisation", "Norm"),
    ):
        if part in kind:
            return name
    return "pooling" if kind == "mean" else "other"


def lines_of(box: Box) -> list[str]:
    """The text in a box: the head's name, the layer and its sizes, and what is folded in."""
    first, *folded = box.steps
    lines = [box.head] if box.head is not None else []
    name = first.kind if first.is_layer else _operation(first.kind, first.parameters)
    line = f"{name}  {first.detail}".rstrip()
    lines += [line] if len(line) <= MAX_CHARACTERS else [name, first.detail]
    line = ""
    for step in folded:
        word = f"{step.kind} {step.detail}".rstrip()
        if line and len(line) + len(word) > MAX_CHARACTERS - 3:
            lines.append(line)
            line = ""
        line = f"{line} · {word}" if line else word
    return lines + [line] * bool(line)


def _operation(kind: str, parameters: int) -> str:
    if kind == "add" and parameters:
        return "add learned positions"
    return {"cat": "concatenate"}.get(kind, kind)


def shape_text(shape: tuple[int, ...]) -> str:
    """A shape as people write it."""
    return "×".join(map(str, shape))


def places_of(picture: Picture) -> dict[int, Place]:
    """Lay out the boxes and inputs of a picture, without overlaps."""
    places = {}
    for number, name in enumerate(_inputs(picture)):
        places[name] = Place(WIDTH / 2, -number * 1.0, 2 * LINE + 2 * PAD, WIDTH / 2)
    for column_number, column in enumerate(picture.columns):
        x = (column_number + 1) * (WIDTH + GUTTER) + WIDTH / 2
        top = 0.0
        block = None
        for number in column.boxes:
            box = picture.boxes[number]
            if box.block != block:
                top -= ABOVE_BLOCK
            block = box.block
            if box.is_sum:
                places[number] = Place(x, top, 2 * SUM_RADIUS, SUM_RADIUS)
            else:
                height = LINE * len(lines_of(box)) + 2 * PAD
                places[number] = Place(x, top, height, WIDTH / 2)
            top = places[number].bottom - GAP
    return places


def _inputs(picture: Picture) -> list[int]:
    return [IMAGE] + [AUXILIARY] * (picture.trace.auxiliary_size > 0)


def _draw_box(axes: Axes, box: Box, place: Place) -> None:
    if box.is_sum:
        sign = {"add": "+", "mul": "×"}[box.steps[0].kind]
        axes.add_patch(Circle((place.x, place.middle), SUM_RADIUS, fc="white", ec="#333", lw=0.9))
        axes.text(place.x, place.middle - 0.008, sign, ha="center", va="center", fontsize=10)
        return
    _rounded(axes, place, COLOURS[colour_of(box)])
    for number, line in enumerate(lines_of(box)):
        y = place.top - PAD - LINE * (number + 0.5)
        weight = "bold" if number == 0 and box.head is not None else "normal"
        axes.text(place.x, y, line, ha="center", va="center", fontsize=7.5, fontweight=weight)
    weights = sum(step.parameters for step in box.steps)
    if weights:
        _note(axes, place.x + place.half_width + 0.04, place.middle, f"{weights:,}", "#8a4b08")


def _rounded(axes: Axes, place: Place, colour: str) -> None:
    left = place.x - place.half_width
    style = "round,pad=0,rounding_size=0.06"
    axes.add_patch(
        FancyBboxPatch(
            (left, place.bottom),
            2 * place.half_width,
            place.height,
            boxstyle=style,
            fc=colour,
            ec="#555",
            lw=0.8,
        )
    )


def _note(axes: Axes, x: float, y: float, text: str, colour: str) -> None:
    axes.text(x, y, text, ha="left", va="center", fontsize=6.3, color=colour)


def _draw_inputs(axes: Axes, picture: Picture, places: dict[int, Place]) -> None:
    shapes = {
        IMAGE: ("image", shape_text(picture.trace.image_shape)),
        AUXILIARY: ("auxiliary features", str(picture.trace.auxiliary_size)),
    }
    for number in _inputs(picture):
        place = places[number]
        _rounded(axes, place, "white")
        for line, text in enumerate(shapes[number]):
            y = place.top - PAD - LINE * (line + 0.5)
            axes.text(place.x, y, text, ha="center", va="center", fontsize=7.5)


def _draw_columns(axes: Axes, picture: Picture, places: dict[int, Place]) -> None:
    for column in picture.columns:
        x = places[column.boxes[0]].x
        axes.text(
            x - WIDTH / 2, 0.12, column.title, ha="left", va="bottom", fontsize=8.5, color="#444"
        )


def _draw_blocks(axes: Axes, picture: Picture, places: dict[int, Place]) -> None:
    members: dict[tuple[str, int], list[Place]] = {}
    for number, box in enumerate(picture.boxes):
        if box.block is not None:
            members.setdefault(box.block, []).append(places[number])
    for (kind, number), inside in members.items():
        top, bottom = inside[0].top + 0.1, min(place.bottom for place in inside) - 0.18
        left = inside[0].x - WIDTH / 2 - OUTLINE[0]
        axes.add_patch(
            Rectangle(
                (left, bottom),
                WIDTH + sum(OUTLINE),
                top - bottom,
                fc="#fafafa",
                ec="#999",
                ls="--",
                lw=0.8,
                zorder=0.5,
            )
        )
        count = picture.repeats[number]
        name = f"{count} × {kind}" if count > 1 else kind
        axes.text(left + 0.05, top + 0.02, name, va="bottom", fontsize=6.3, color="#444")


def _draw_arrows(axes: Axes, picture: Picture, places: dict[int, Place]) -> None:
    column_of = {n: column for column in picture.columns for n in column.boxes}
    first_of = {box.block: n for n, box in reversed(list(enumerate(picture.boxes))) if box.block}
    for number, box in enumerate(picture.boxes):
        here = column_of[number].boxes
        for source in box.inputs:
            if source not in here and number == here[0]:
                _between_columns(axes, places[source], places[number], source)
            elif source not in here:
                # What the column's first box works on too; its arrow branches off there.
                _around(axes, places[number], places[here[0]], first=True)
            elif source == number - 1:
                _down(axes, places[source], places[number])
            elif box.block is not None and picture.boxes[source].block != box.block:
                _around(axes, places[number], places[first_of[box.block]], first=True)
            else:
                is_inner = box.steps[0].kind == "mul"  # within a residual branch
                _around(axes, places[number], places[source], indent=0.1 if is_inner else 0.2)
        _shape_below(axes, picture, number, places[number])


def _shape_below(axes: Axes, picture: Picture, number: int, place: Place) -> None:
    """The shape of a result, where it is not that of what came in."""
    box = picture.boxes[number]
    shape = box.steps[-1].shape
    before = [
        picture.trace.image_shape if source == IMAGE else picture.boxes[source].steps[-1].shape
        for source in box.inputs
        if source != AUXILIARY
    ]
    if shape not in before or box.head is not None:
        _note(axes, place.x + 0.06, place.bottom - GAP / 2 + 0.02, shape_text(shape), "#1f4e79")


def _down(axes: Axes, source: Place, target: Place) -> None:
    _arrow(axes, [(source.x, source.bottom), (target.x, target.top)])


def _around(
    axes: Axes, target: Place, start: Place, indent: float = 0.2, first: bool = False
) -> None:
    """Past the boxes between, on their left: from below a box, or from above the first one."""
    x = target.x - WIDTH / 2 - indent
    y = start.top + 0.07 if first else start.bottom - 0.05
    points = [(start.x, y), (x, y), (x, target.middle)]
    _arrow(axes, [*points, (target.x - target.half_width, target.middle)])


def _between_columns(axes: Axes, source: Place, target: Place, number: int) -> None:
    """Out of the last box, up beside the column, over to the next column, down into it."""
    if number in (IMAGE, AUXILIARY):
        # The auxiliary features' lane is the lower one; it passes under all the others.
        lane, reach = (LANE, 0.45) if number == IMAGE else (LANE - 0.1, 0.25)
        gutter = source.x + source.half_width + reach
        points = [(source.x + source.half_width, source.middle), (gutter, source.middle)]
    else:
        lane, gutter, y = LANE, source.x + WIDTH / 2 + OUTLINE[1] + 0.11, source.bottom - 0.27
        points = [(source.x, source.bottom), (source.x, y), (gutter, y)]
    points += [(gutter, lane), (target.x, lane), (target.x, target.top)]
    # In its own colour, since it crosses the others.
    _arrow(axes, points, "#7a5195" if number == AUXILIARY else "#333")


def _arrow(axes: Axes, points: list[tuple[float, float]], colour: str = "#333") -> None:
    for (x0, y0), (x1, y1) in pairwise(points[:-1]):
        axes.plot([x0, x1], [y0, y1], color=colour, lw=0.9, solid_capstyle="round", zorder=0.9)
    axes.add_patch(
        FancyArrowPatch(
            points[-2],
            points[-1],
            arrowstyle="-|>",
            mutation_scale=7,
            color=colour,
            lw=0.9,
            shrinkA=0,
            shrinkB=0,
            zorder=0.9,
        )
    )


def _draw_legend(axes: Axes, picture: Picture, y: float) -> None:
    kinds = {colour_of(box) for box in picture.boxes if not box.is_sum}
    used = [name for name in COLOURS if name in kinds]
    x = 0.0
    for name in used:
        axes.add_patch(Rectangle((x, y), 0.16, 0.12, fc=COLOURS[name], ec="#555", lw=0.6))
        axes.text(x + 0.22, y + 0.06, name, va="center", fontsize=7)
        x += 0.45 + 0.062 * len(name)
    for text, colour in (("parameters", "#8a4b08"), ("shape of the result", "#1f4e79")):
        _note(axes, x, y + 0.06, text, colour)
        x += 0.85

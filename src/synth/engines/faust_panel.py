"""The controls of a Faust program, read from the JSON that Faust writes of its user interface."""

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypedDict

from src.synth.engines.control import Control
from src.synth.engines.engine import EngineError
from src.vimh.codec import Spacing


class Item(TypedDict, total=False):
    """An entry of the JSON's `ui`: a group with `items`, or a control or bargraph."""

    type: str
    label: str
    address: str
    meta: list[dict[str, str]]
    items: "list[Item]"


class Range(NamedTuple):
    """The numbers of a slider; the JSON has them too, but with six digits."""

    init: float
    min: float
    max: float


@dataclass(frozen=True)
class Slot:
    """A control, and how it is set.

    Attributes:
        control: What the recipe sees.
        path: Faust's address of it.
        values: Of a menu what each class sends; empty: the control's value itself.
    """

    control: Control
    path: str
    values: tuple[float, ...] = ()


@dataclass(frozen=True)
class Panel:
    """All that can be set.

    Attributes:
        slots: The controls, in the JSON's order.
        pressed: Addresses of what is pressed while the note is held.
    """

    slots: tuple[Slot, ...]
    pressed: tuple[str, ...]


_SLIDERS = ("hslider", "vslider", "nentry")
_GATE = "gate"
_OF_NOTE = ("freq", "key", "gain", "vel", "velocity")  # what plays a program of several voices
_SWITCH = ("off", "on")
_NAMELESS = "0x00"  # what Faust calls a control or group without a label
_CHOICE = re.compile(r"(?:menu|radio)\s*\{(.*)\}\s*", re.DOTALL)
_ENTRY = re.compile(r"\s*'([^']*)'\s*:\s*([^;\s]+)\s*(?:;|$)")


def read_panel(ui: Sequence[Item], ranges: Mapping[str, Range]) -> Panel:
    """Read the controls of a program.

    Sliders and number boxes become numbers, those with a menu or radio buttons and check boxes
    become classes; bargraphs show something and are left out. The gate, or where there is none
    every button, is pressed with the note.

    Args:
        ui: the JSON's `ui`.
        ranges: of each slider, by address.

    Raises:
        EngineError: for sound files, and for metadata that does not say what it should.

    Example:
        >>> item = {"type": "hslider", "label": "cutoff", "address": "/voice/cutoff",
        ...         "meta": [{"unit": "Hz"}, {"scale": "log"}, {"jnd": "0.03"}]}
        >>> panel = read_panel([item], {"/voice/cutoff": Range(1000, 100, 5000)})
        >>> control = panel.slots[0].control
        >>> control.name, control.max, control.unit, control.spacing, control.step
        ('cutoff', 5000, 'Hz', 'log', 0.03)
    """
    leaves = list(_leaves(ui))
    for leaf in leaves:
        if leaf["type"] == "soundfile":
            raise EngineError(
                f"the program plays sound files (soundfile {leaf['label']!r}), which are not read"
            )
    inputs = [leaf for leaf in leaves if leaf["type"] in (*_SLIDERS, "button", "checkbox")]
    gates = [leaf for leaf in inputs if leaf["label"] == _GATE]
    pressed = gates or [leaf for leaf in inputs if leaf["type"] == "button"]
    settable = [x for x in inputs if x["type"] != "button" and x not in gates]
    names = short_names([leaf["address"] for leaf in settable])
    slots = (
        _slot(leaf, name, ranges, is_note=bool(gates) and leaf["label"] in _OF_NOTE)
        for leaf, name in zip(settable, names, strict=True)
    )
    return Panel(tuple(slots), tuple(leaf["address"] for leaf in pressed))


def _leaves(items: Sequence[Item]) -> Iterator[Item]:
    for item in items:
        if "items" in item:
            yield from _leaves(item["items"])
        else:
            yield item


def short_names(addresses: Sequence[str]) -> list[str]:
    """Return the shortest end of each address that no other has, in letters, digits and _.

    An end that begins with a digit is made longer too, since it could not be typed as a key.

    Example:
        >>> short_names(["/organ/low/level", "/organ/high/level", "/organ/Filter Q"])
        ['low_level', 'high_level', 'Filter_Q']
    """
    parts = [_words(address) for address in addresses]
    lengths = [1] * len(parts)
    while True:
        names = ["_".join(own[-n:]) for own, n in zip(parts, lengths, strict=True)]
        counts = Counter(names)
        longer = [
            k
            for k, name in enumerate(names)
            if lengths[k] < len(parts[k]) and (counts[name] > 1 or not name.isidentifier())
        ]
        if not longer:
            return _numbered([n if n.isidentifier() else f"control_{n}".rstrip("_") for n in names])
        for k in longer:
            lengths[k] += 1


def _words(address: str) -> list[str]:
    parts = (p for p in address.split("/") if p != _NAMELESS)
    return [word for p in parts if (word := re.sub(r"\W+", "_", p).strip("_"))]


def _numbered(names: list[str]) -> list[str]:
    """Number those that are still the same: their addresses differ in other characters alone."""
    taken: dict[str, None] = {}
    for name in names:
        unique, number = name, 1
        while unique in taken or (number > 1 and unique in names):
            number += 1
            unique = f"{name}_{number}"
        taken[unique] = None
    return list(taken)


def _slot(leaf: Item, name: str, ranges: Mapping[str, Range], *, is_note: bool) -> Slot:
    meta = {
        key: " ".join(text.split()) for one in leaf.get("meta", []) for key, text in one.items()
    }
    path, tooltip = leaf["address"], meta.get("tooltip", "")
    if leaf["type"] == "checkbox":
        switch = Control(name, 0.0, 1.0, 0.0, class_names=_SWITCH, description=tooltip)
        return Slot(switch, path, (0.0, 1.0))
    own = ranges[path]
    choice = _CHOICE.fullmatch(meta.get("style", ""))
    if choice:
        classes, values = _menu(name, choice[1], own)
        nearest = min(range(len(values)), key=lambda k: abs(values[k] - own.init))
        menu = Control(
            *(name, 0.0, len(values) - 1.0, float(nearest)),
            class_names=classes,
            description=tooltip,
            of_note=is_note,
        )
        return Slot(menu, path, values)
    spacing, remark = _spacing(meta, own)
    control = Control(
        *(name, own.min, own.max, own.init, meta.get("unit", ""), spacing),
        step=_step(name, meta),
        description=" ".join(filter(None, (tooltip, remark))),
        of_note=is_note,
    )
    return Slot(control, path)


def _spacing(meta: Mapping[str, str], own: Range) -> tuple[Spacing, str]:
    """Return how values are spread, and a remark where that is not what the program says."""
    if meta.get("scale") != "log":
        return "linear", ""
    return ("log", "") if own.min > 0 else ("linear", "(scale:log needs a positive minimum)")


def _menu(name: str, entries: str, own: Range) -> tuple[tuple[str, ...], tuple[float, ...]]:
    classes: list[str] = []
    values: list[float] = []
    end = 0
    while end < len(entries):
        found = _ENTRY.match(entries, end)
        value = _number(found[2]) if found else None
        if found is None or value is None:
            raise EngineError(
                f"the menu of {name} is {{{entries}}}; expected {{'name':value;'name':value}}"
            )
        if not own.min <= value <= own.max:
            raise EngineError(
                f"the menu of {name} sends {value:g} for {found[1]!r}; expected "
                f"{own.min:g} to {own.max:g}, the slider's range"
            )
        classes.append(found[1])
        values.append(value)
        end = found.end()
    if not values:
        raise EngineError(f"the menu of {name} is empty; expected {{'name':value;'name':value}}")
    return tuple(classes), tuple(values)


def _step(name: str, meta: Mapping[str, str]) -> float | None:
    if "jnd" not in meta:
        return None
    step = _number(meta["jnd"])
    if step is None or step <= 0:
        raise EngineError(
            f"[jnd:{meta['jnd']}] of {name}; expected a positive number: a difference, or with "
            "[scale:log] a ratio minus one"
        )
    return step


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None

"""The engine of `synth=plugin`; its package is imported in the worker's process alone."""

import re
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np
from jaxtyping import Float32

from src.synth.engines.control import Control
from src.synth.engines.engine import Engine, EngineError
from src.synth.engines.midi import Note

_BLOCK = 512  # samples
_NOTE_ON, _NOTE_OFF = 0x90, 0x80
_MOST_CLASSES = 64  # a control of more steps is no menu
_PREFIX = re.compile(r"@prefix\s+(\w*):\s*<([^>]+)>")
_PLUGIN = re.compile(r"^(?:<([^>]+)>|(\w*):(\w+))\s+a\s+lv2:Plugin\b", re.MULTILINE)


class PluginEngine(Engine):
    """A plug-in without its window.

    Controls have the plug-in's own values, 0…1 in VST3 and LV2; what they stand for at both ends
    is in the description. Menus and switches are classes.

    Args:
        sample_rate_hz: samples a second.
        plugin: path of the bundle.
        name: which of an LV2 bundle's plug-ins.
        note: what is played.

    Raises:
        EngineError: if it cannot be loaded, or is an effect.
    """

    def __init__(
        self,
        sample_rate_hz: int,
        plugin: str,
        name: str | None = None,
        note: Mapping[str, float] | None = None,
    ) -> None:
        import minihost

        path = Path(plugin).resolve()
        channels: dict[str, Any] = {"in_channels": 0, "out_channels": 2}
        common = {"sample_rate": float(sample_rate_hz), "max_block_size": _BLOCK, **channels}
        try:
            if path.suffix == ".lv2":
                minihost.probe(str(path))  # makes the bundle known, wherever it lies
                xml = _description(_uri(path, name))
                self._plugin = minihost.Plugin.from_descriptor(xml, **common)
            else:
                self._plugin = minihost.Plugin(str(path), **common)
        except RuntimeError as error:
            raise EngineError(f"{path}: {error}") from error
        if not self._plugin.accepts_midi:
            raise EngineError(f"{path} {name or ''}: takes no notes; expected an instrument")
        self._plugin.non_realtime = True
        self._rate_hz = sample_rate_hz
        self._note = Note(**(note or {}))
        self._places = _by_name(self._plugin)
        self._defaults = {n: self._plugin.get_param(k) for n, k in self._places.items()}

    def version(self) -> str:
        """Return the version of minihost."""
        return version("minihost")

    def controls(self) -> tuple[Control, ...]:
        """Return the note and the plug-in's parameters."""
        own = (self._control(name, place) for name, place in self._places.items())
        return (*self._note.controls, *own)

    def _control(self, name: str, place: int) -> Control:
        about = self._plugin.get_param_info(place)
        steps = 2 if about["is_boolean"] else about["num_steps"]
        default = self._defaults[name]
        if 2 <= steps <= _MOST_CLASSES:
            texts = [self._plugin.param_to_text(place, k / (steps - 1)) for k in range(steps)]
            classes = tuple(f"{t} {k}" if texts.count(t) > 1 else t for k, t in enumerate(texts))
            default = float(round(default * (steps - 1)))
            return Control(
                *(name, 0.0, steps - 1.0, default),
                class_names=classes,
                description=about["name"],
            )
        ends = [self._plugin.param_to_text(place, value) for value in (0.0, 1.0)]
        return Control(
            *(name, 0.0, 1.0, default),
            description=f"{about['name']}, {ends[0]} to {ends[1]} {about['label']}".strip(),
        )

    def clear(self) -> None:
        """Reset the plug-in, and put its controls back."""
        self._plugin.reset()
        for name, place in self._places.items():
            self._plugin.set_param(place, self._defaults[name])

    def render(
        self, values: Mapping[str, float], num_samples: int
    ) -> Float32[np.ndarray, "{num_samples}"]:
        """Render a note; see :meth:`Engine.render`."""
        for name, value in self._note.others(values).items():
            self._plugin.set_param(self._places[name], self._normalised(name, value))
        number, velocity = self._note.played(values)
        release = round(self._note.hold_s * self._rate_hz)
        silence = np.zeros((max(1, self._plugin.num_input_channels), _BLOCK), np.float32)
        silence = silence[: self._plugin.num_input_channels]
        sound = np.empty((self._plugin.num_output_channels, num_samples + _BLOCK), np.float32)
        for start in range(0, num_samples, _BLOCK):
            events = [(0, _NOTE_ON, number, velocity)] if start == 0 else []
            if start <= release < start + _BLOCK:
                events.append((release - start, _NOTE_OFF, number, 0))
            block = np.zeros((len(sound), _BLOCK), np.float32)
            self._plugin.process_midi(silence, block, events)
            sound[:, start : start + _BLOCK] = block
        return sound[:, :num_samples].mean(axis=0, dtype=np.float32)

    def _normalised(self, name: str, value: float) -> float:
        """Return the plug-in's own value: of a menu's class its place between 0 and 1."""
        about = self._plugin.get_param_info(self._places[name])
        steps = 2 if about["is_boolean"] else about["num_steps"]
        return value / (steps - 1) if 2 <= steps <= _MOST_CLASSES else value


def _by_name(plugin: Any) -> dict[str, int]:
    """Return the places of parameters by names of letters, digits and _; no two are the same."""
    places: dict[str, int] = {}
    for place in range(plugin.num_params):
        said = str(plugin.get_param_info(place)["name"]).lower()
        name = re.sub(r"\W+", "_", said).strip("_") or "control"
        places[name if name not in places else f"{name}_{place}"] = place
    return places


def _uri(bundle: Path, name: str | None) -> str:
    """Return the URI of a plug-in in an LV2 bundle, from its manifest."""
    manifest = bundle / "manifest.ttl"
    if not manifest.is_file():
        raise EngineError(f"{bundle} has no manifest.ttl; expected an LV2 bundle")
    text = manifest.read_text(encoding="utf-8")
    prefixes = dict(_PREFIX.findall(text))
    uris = [whole or prefixes.get(p, f"{p}:") + last for whole, p, last in _PLUGIN.findall(text)]
    names = {re.split(r"[/#:]", uri)[-1]: uri for uri in uris}
    if name is None and len(names) == 1:
        return next(iter(names.values()))
    if name not in names:
        raise EngineError(
            f"synth.name is {name or 'null'}; {bundle} has {', '.join(sorted(names))}"
        )
    return names[name]


def _description(uri: str) -> str:
    """Return how minihost's JUCE asks for an LV2 plug-in."""
    given = {"name": uri, "format": "LV2", "file": uri, "uniqueId": "0", "isInstrument": "1"}
    attributes = [f"{key}={quoteattr(value)}" for key, value in given.items()]
    return f"<PLUGIN {' '.join(attributes)}/>"

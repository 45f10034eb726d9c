"""Checkpoints that an attacker would make out of honest ones, for the tests beside this file."""

from __future__ import annotations

import copy
import functools
import json
import math
import random
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from src.checkpoints.reader import read_saved
from tests.conftest import ROOT

FOLDER = ROOT / "tests" / "checkpoints"
NAMES = ("convnext_v2", "simple_cnn", "simple_dense_net", "simple_efficientnet", "simple_mlp")
CANARY = "AVIX_TEST_CANARY"
SECRET = "canary-6f1d"  # the variable's value, which must not come out anywhere
NEEDED = ("avix", "state_dict", "epoch", "global_step")


def honest(name: str = "simple_mlp", *, whole: bool = True) -> dict[str, Any]:
    """The content of a checkpoint of `tests/checkpoints`, to be changed."""
    content = _read(name)
    if whole:
        return copy.deepcopy(content)
    return {key: copy.deepcopy(content[key]) for key in NEEDED}


@functools.cache
def _read(name: str) -> dict[str, Any]:
    return read_saved(FOLDER / f"{name}.ckpt")


def at(content: dict[str, Any], key: str) -> tuple[Any, Any]:
    """The container and the last key of a place such as "avix.config.loss._target_"."""
    *parts, last = key.split(".")
    node: Any = content
    for part in parts:
        node = node.setdefault(part, {}) if isinstance(node, dict) else node[int(part)]
    return node, int(last) if isinstance(node, list) else last


def put(content: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    """The content with another value at a place, which may be new."""
    node, last = at(content, key)
    node[last] = value
    return content


def write(content: dict[str, Any], path: Path) -> Path:
    """Writes a content as .ckpt or as .safetensors, by the path's suffix."""
    if path.suffix == ".ckpt":
        torch.save(content, path)
        return path
    texts = {"avix": json.dumps(content["avix"])}
    texts["place"] = json.dumps({key: content[key] for key in ("epoch", "global_step")})
    tensors = {name: tensor.clone() for name, tensor in content["state_dict"].items()}
    save_file(tensors, path, metadata=texts)
    return path


CONFIG, LOSS, NET = "avix.config", "avix.config.loss", "avix.config.model.net"
# What Hydra and OmegaConf would look up, call or build.
LOOKED_UP = [
    "${oc.select:model.marker,timeit.Timer}", "${oc.env:" + CANARY + "}", "a ${oc.env:HOME} b",
    "${oc.decode:${oc.env:" + CANARY + "}}", "${hydra:runtime.cwd}", "${now:%Y}", "${loss}",
    "${run_dir:last,/,x}", "${.dropout}", "${..net}", "\\${x}", "???", "${", "${nope}",
]  # fmt: skip
PLACES = [
    f"{LOSS}._target_", f"{NET}._target_", f"{NET}.dropout", f"{NET}.fc_hidden",
    "avix.config.model.optimizer.lr", "avix.config.model.optimizer.x.y.z",
    "avix.config.model.scheduler._target_", "avix.config.model.loss._target_",
    "avix.config.model.loss.x", "avix.config.model.scheduler_monitor",
    "avix.config.data.source.root", "avix.config.data.source.recipe.synth.parameters.x",
    "avix.config.data.source._target_", "avix.config.data.data_dir", "avix.config.data._target_",
    "avix.config.data.feature_types", "avix.config.data.channel_selection",
    "avix.config.data._convert_", "avix.metadata.dataset_name",
    "avix.metadata.synthesizer.x", "avix.metadata.parameter_names.0", "avix.metadata.a.b",
]  # fmt: skip
CLASSES = [
    "logging.FileHandler", "timeit.Timer", "subprocess.Popen", "os.system", "builtins.eval",
    "builtins.open", "hydra.utils.get_method", "hydra.utils.get_class", "hydra.utils.get_object",
    "hydra.utils.instantiate", "hydra._internal.instantiate._instantiate2.instantiate",
    "torch.nn.Module", "torch.nn.ReLU", "torch.nn.LazyLinear", "torch.nn.Sequential",
    "torch.nn.modules.module.Module", "torch.load", "torch.hub.load", "torch.nn.CrossEntropyLoss",
    "src.models.components.MultiheadNetwork", "src.models.components.network.torch.load",
    "src.models.losses.HeadLoss", "src.models.losses.CrossEntropyHead",
    "src.checkpoints.checkpoint_io.load_checkpoint", "src.models.components.simple_cnn.nn.Linear",
    "src.models.components.SimpleCNN.__init__", "src.models.components.SimpleCNN ",
    "src.models.components.ЅimpleCNN", "src.models..components.SimpleCNN", "", ".", "__main__.x",
]  # fmt: skip
HYDRA = {
    "_args_": [["/etc/passwd"]], "_partial_": True, "_recursive_": False, "_convert_": "object",
    "_mode_": 1, "__class__": "x", "_target_._x": "y", "a.b": 1, "a[0]": 1, "": 1,
}  # fmt: skip


class Text(str):
    """A subclass of a plain type."""


WRONG: list[Any] = [
    float("nan"), float("inf"), -1, 0, 10**30, 2**63, -(2**63), 1e308, "", "a", "\ud800", "\x00",
    "\x1b[2J", "x" * 2000, "../../x", "/etc/passwd", [], {}, [[]], [[[[1]]]], None, True, False,
    (), (1, 2), {"a": {"b": {}}}, {"_target_": "timeit.Timer"}, [{"_target_": "os.system"}],
    {"${oc.env:HOME}": 1}, {1: 2}, ["${oc.env:HOME}"], "1", 1.5, 10**9, [10**12] * 2, "１２",
    OrderedDict(a=1), Counter("ab"), torch.tensor(1.0), torch.zeros(3),
]  # fmt: skip
# What torch.load would make and what is in no checkpoint of ours.
FOREIGN: list[Any] = [
    {1, 2}, b"bytes", bytearray(b"x"), 1j, torch.Size([1]), torch.float32, torch.device("cpu"),
    Text("x"), range(3), torch.nn.Linear(1, 1), math.sqrt, torch.zeros(2, dtype=torch.complex64),
    torch.zeros(2, 2).to_sparse(), torch.zeros(2, device="meta"), frozenset((1,)), slice(1),
]  # fmt: skip


def places_in(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all parts of a content; keys of dicts and indices of lists."""
    if path:
        yield path
    if isinstance(node, dict):
        for key, part in node.items():
            yield from places_in(part, (*path, key))
    elif isinstance(node, list):
        for index in range(min(len(node), 4)):
            yield from places_in(node[index], (*path, index))


class Mutations:
    """Draws contents of checkpoints: honest ones with a few parts changed.

    Args:
        seed: Of the draws.
        names: The checkpoints that are changed.
    """

    def __init__(self, seed: int, names: tuple[str, ...] = NAMES) -> None:
        self._random = random.Random(seed)
        self._contents = [honest(name) for name in names]
        self._small = [{key: c[key] for key in NEEDED} for c in self._contents]
        self._places = [
            [place for place in places_in(c) if place[0] != "random_states"] for c in self._contents
        ]
        self._small_places = [
            [place for place in places if place[0] in NEEDED] for places in self._places
        ]

    def draw(self, *, whole: bool = False) -> dict[str, Any]:
        """A content; one in twenty is honest."""
        number = self._random.randrange(len(self._contents))
        content = copy.deepcopy((self._contents if whole else self._small)[number])
        places = (self._places if whole else self._small_places)[number]
        for _ in range(self._random.choice([0, *[1] * 12, *[2] * 4, *[3] * 3])):
            self._change(content, self._random.choice(places))
        return content

    def _change(self, content: dict[str, Any], place: tuple[Any, ...]) -> None:
        node: Any = content
        for key in place[:-1]:
            try:
                node = node[key]
            except (KeyError, IndexError, TypeError):
                return  # an earlier change has taken it away
        last = place[-1]
        if not isinstance(node, dict | list) or (isinstance(node, dict) and last not in node):
            return
        if isinstance(node, list) and not (isinstance(last, int) and last < len(node)):
            return
        if isinstance(node[last], torch.Tensor):
            node[last] = self._tensor(node[last])
        else:
            self._random.choice(self._ways())(node, last)

    def _ways(self) -> list[Callable[[Any, Any], None]]:
        return [self._replace, self._replace, self._replace, self._remove, self._add, self._wrap]

    def _replace(self, node: Any, last: Any) -> None:
        old, draw = node[last], self._random
        pool = [*WRONG, *LOOKED_UP, *CLASSES]
        if type(old) in (int, float):  # numbers near the right ones reach further
            pool = [*WRONG, old + 1, old * 2, -old, old / 3, old + 0.5, old * 1000, float(old)]
        node[last] = copy.deepcopy(draw.choice(pool))

    def _remove(self, node: Any, last: Any) -> None:
        del node[last]

    def _add(self, node: Any, last: Any) -> None:
        draw = self._random
        if isinstance(node, list):
            node.insert(last, copy.deepcopy(draw.choice(WRONG)))
        else:
            key = draw.choice([*HYDRA, "x", "dropout", "Dropout", "_target_", "size", 5, "a.b"])
            node[key] = copy.deepcopy(draw.choice([*WRONG, *LOOKED_UP]))

    def _wrap(self, node: Any, last: Any) -> None:
        node[last] = self._random.choice([[node[last]], {"_target_": node[last]}, [node[last]] * 3])

    def _tensor(self, tensor: torch.Tensor) -> Any:
        if tensor.numel() > 10**6:  # an earlier change has made it a view of one number
            return "text"
        flat = tensor.reshape(-1)
        return self._random.choice(
            [
                tensor.double, tensor.half, tensor.bool, tensor.long, lambda: flat[:1],
                lambda: tensor[None], lambda: torch.zeros(()), lambda: tensor * float("nan"),
                lambda: torch.zeros(1).expand(10**6), lambda: torch.zeros(0), lambda: "text",
                lambda: [tensor], lambda: torch.zeros(1).expand(2**40), lambda: tensor.t()
                if tensor.ndim == 2 else tensor, lambda: None, lambda: tensor.bfloat16(),
            ]
        )()  # fmt: skip

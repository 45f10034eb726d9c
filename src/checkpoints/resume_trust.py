"""What a run's folder may decide when it goes on: everything but which code runs.

``ckpt_path=last`` reads ``.hydra/config.yaml`` and ``overrides.yaml`` of the newest run. The user
wrote them, or somebody else put them there. So what they say is admitted as data. What would be
imported, or looked up elsewhere, has to stand in the user's own configs or command line, or lie in
a module that these trust.
"""

from __future__ import annotations

import inspect
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from src.schema.arguments import shown
from src.schema.plain import MAX_DEPTH, MAX_NODES
from src.schema.specs import TARGET
from src.utils.errors import ConfigError
from src.utils.trust import PROGRAM_KEYS, Trust, in_config, texts_in

MAX_BYTES = 4 * 2**20  # of a config's file
FORMER_TRAINER = "lightning.pytorch.trainer.Trainer"  # of runs from before src.utils.trainer
# Classes that lay elsewhere when earlier runs began.
MOVED = {
    "src.callbacks.checkpoint_io.": "src.checkpoints.checkpoint_io.",
    "src.utils.tensorboard_logger.": "src.loggers.tensorboard_logger.",
}
AGAIN = "a run's folder is not trusted with it. Say it again on the command line, or start anew"
_REFERENCE = re.compile(r"\$\{[\w.\[\]]+\}")  # to another key; a resolver has a colon

_PROGRAM_LINE = re.compile(rf"^\s*(?:{'|'.join(PROGRAM_KEYS)}):\s*['\"]?([^'\"#\s]+)", re.MULTILINE)
_TARGET_LINE = re.compile(r"^\s*_target_:\s*['\"]?([\w.]+)", re.MULTILINE)


def load_yaml(path: Path) -> object:
    """Read a config's file of a run's folder as plain containers, its interpolations as texts.

    Raises:
        ConfigError: If it is no YAML, is larger than any config, or repeats itself by aliases, of
            which a small file can make a huge config.
    """
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise ConfigError(f"{path} has {size} bytes; expected a config of at most {MAX_BYTES}")
    try:
        text = path.read_text(encoding="utf-8")
        tokens = yaml.scan(text, Loader=yaml.SafeLoader)
        if any(isinstance(token, yaml.AliasToken) for token in tokens):
            raise ConfigError(f"{path} has YAML aliases; Hydra writes none")
        for former, present in MOVED.items():
            text = text.replace(f"{TARGET}: {former}", f"{TARGET}: {present}")
        return OmegaConf.to_container(OmegaConf.load(io.StringIO(text)))
    except (yaml.YAMLError, OmegaConfBaseException, UnicodeError, RecursionError, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(f"{path} is no config as Hydra writes it: {reason}") from error


def check_overrides(lines: list[str], where: Path) -> None:
    """Refuse what an earlier command line, read from a file, must not decide.

    Raises:
        ConfigError: For a line that is no override, an override of Hydra's own settings, an
            interpolation, or a choice that is no file of the user's config groups.
    """
    loader = GlobalHydra.instance().config_loader()
    try:
        overrides = OverridesParser.create().parse_overrides(lines)
    except OverrideParseException as error:
        raise ConfigError(f"{where}: {shown(error.override)} is no override") from error
    for override in overrides:
        line, key = str(override.input_line), override.key_or_group
        if key.partition(".")[0].partition("/")[0] == "hydra":
            raise ConfigError(f"{where}: {shown(line)}: it sets Hydra itself; {AGAIN}")
        if "${" in line:
            raise ConfigError(f"{where}: {shown(line)}: it looks up a value elsewhere; {AGAIN}")
        options = loader.get_group_options(key)
        value = override.value()
        chosen = value if isinstance(value, list) else [value]
        unknown = [choice for choice in chosen if choice is not None and choice not in options]
        if options and unknown and not override.is_delete():
            raise ConfigError(
                f"{where}: {shown(line)}: {key} has no {shown(unknown[0])}; there are "
                f"{', '.join(options)}"
            )


def check_config(config: object, own: object, trust: Trust, where: Path) -> None:
    """Refuse a saved config that names classes or resolvers of its own.

    Args:
        config: As it will run: the saved one with what the command line changes, unresolved.
        own: What the user's files say for the same overrides, unresolved. An interpolation that
            stands at the same place there is the user's, since the overrides have none.
        trust: Which import paths a ``_target_`` may have.
        where: The run's folder, for messages.

    Raises:
        ConfigError: Naming the key.
    """
    for key, name, value, in_own in _leaves(config, own):
        # Null imports nothing: model.criterion has it until somebody names a class.
        named = name == TARGET and value is not None
        if named and not (isinstance(value, str) and trust.admits(value)):
            raise ConfigError(
                f"{where}: {key} is {shown(value, 200)}, which neither your configs nor your "
                f"command line name or trust; {AGAIN}"
            )
        is_program = name in PROGRAM_KEYS and value is not None
        if is_program and in_config(config, value) not in trust.programs:
            raise ConfigError(
                f"{where}: {key} is {shown(value, 200)}, a program that neither your configs nor "
                f"your command line name; {AGAIN}"
            )
        text = value if isinstance(value, str) else ""
        if "${" in str(name) or (text != in_own and "${" in _REFERENCE.sub("", text)):
            raise ConfigError(
                f"{where}: {key} is {shown(value)}, which looks up a value elsewhere; {AGAIN}"
            )


def _leaves(config: object, own: object) -> Iterator[tuple[str, object, object, object]]:
    """Yield (whole key, last name, value, value at the same place of the other) of every leaf."""
    waiting: list[tuple[str, object, object, object, int]] = [("", "", config, own, 0)]
    seen = 0
    while waiting:
        key, name, node, other, depth = waiting.pop()
        seen += 1
        if seen > MAX_NODES or depth > MAX_DEPTH:
            raise ConfigError(f"{key}: the config has more than {MAX_NODES} parts, or is too deep")
        parts: Iterator[tuple[object, object]] | None = None
        if isinstance(node, dict):
            parts = iter(node.items())
        elif isinstance(node, list):
            parts = iter(enumerate(node))
        if parts is None or name == TARGET:
            yield key, name, node, other
            continue
        for inner, part in parts:
            there = _at(other, inner)
            waiting.append((f"{key}.{inner}" if key else str(inner), inner, part, there, depth + 1))


def _at(node: object, name: object) -> object:
    if isinstance(node, dict):
        return node.get(name)
    if isinstance(node, list) and isinstance(name, int) and name < len(node):
        return node[name]
    return None


def trust_of_user(own: object, modules: Sequence[str], programs: Sequence[str] = ()) -> Trust:
    """Collect what the user's own configs name or trust, and PyTorch's optimisers."""
    import torch  # here: --help does not wait for it

    found = {FORMER_TRAINER}
    bases = (torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler)
    found |= set(texts_in(own, "_target_"))
    named = set(texts_in(own, *PROGRAM_KEYS))
    for source in GlobalHydra.instance().config_loader().get_search_path().get_path():
        path = (source.path or "").removeprefix("file://")
        if path and "://" not in path:  # others are parts of installed packages
            for file in Path(path).rglob("*.yaml"):
                text = file.read_text(encoding="utf-8")
                found |= set(_TARGET_LINE.findall(text))
                named |= set(_PROGRAM_LINE.findall(text))
    for module in (torch.optim, torch.optim.lr_scheduler):
        classes = inspect.getmembers(module, inspect.isclass)
        found |= {f"{module.__name__}.{name}" for name, cls in classes if issubclass(cls, bases)}
    paths = [path for path in (in_config(own, text) for text in named) if path is not None]
    return Trust(tuple(modules), frozenset(found), (*programs, *paths))

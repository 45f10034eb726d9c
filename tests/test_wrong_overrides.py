"""Every key of the commands' configs with every kind of value: refused in one sentence, or listed.

Of training, three experiments; then evaluating, predicting, exporting and generating.

`accepted_overrides.txt` has what is accepted, read by eye: a line for a key with its kinds of
values (`tests/wrong_overrides.py`). A change of it shows.
"""

import time
from copy import deepcopy
from pathlib import Path
from random import Random

import pytest
from omegaconf import OmegaConf, open_dict

from src.config_check import (
    EvalConfig,
    ExportConfig,
    PredictConfig,
    TrainConfig,
    check_config,
    check_values,
)
from src.config_sections import Task
from src.schema.plain import resolved
from src.synth.generate import dataset_name
from src.utils.errors import ConfigError
from src.vimh.errors import VIMHError
from tests.conftest import ROOT
from tests.wrong_overrides import KINDS, UNKNOWN, Override, keys_of, overrides

ACCEPTED = Path(__file__).with_name("accepted_overrides.txt")
EXPERIMENTS = ("digits_cnn", "avix_cnn_72dss_jnd_dg_hybrid", "resonator_cnn")
OWN_GROUPS = ("data", "model", "loss")  # what is different in the other experiments
RECIPE = "data.source.recipe"
SAMPLED = 16  # one in so many cases is run by the fast form
MAX_S = 2.0  # for one config, on a busy machine

MODEL = ROOT / "examples" / "model" / "simple_wide.safetensors"
SOUND = MODEL.with_name("saw.wav")
# The other commands: what they check, and what has to be given.
COMMANDS: dict[str, tuple[type[Task], list[str]]] = {
    "eval": (EvalConfig, [f"ckpt_path={MODEL}"]),
    "predict": (PredictConfig, [f"ckpt_path={MODEL}", f"input={SOUND}"]),
    "export": (ExportConfig, [f"ckpt_path={MODEL}"]),
}
SHARED_GROUPS = ("trainer", "paths", "extras", "logger", "callbacks")  # those of training
GENERATE = "generate_moog_envelope"
NAMES = (*EXPERIMENTS, *COMMANDS, GENERATE)
WHOLE = tuple(COMMANDS)

RECIPE_SECTIONS = ("synth.", "stft.", "mel.", "image.", "dataset.", "generate.", "sample_rate")

Accepted = dict[str, list[str]]


def cases_of(name: str, values: dict) -> list[Override]:
    """Its overrides; those of groups that are the same in all are the first experiment's."""
    cases = list(overrides(values))
    if name in COMMANDS:
        return [o for o in cases if o.group not in SHARED_GROUPS]
    if name in EXPERIMENTS[1:]:
        return [o for o in cases if o.group in OWN_GROUPS]
    return cases


def check(name: str, values: dict, groups: set[str] | None = None) -> None:
    """What the command does with its config before anything starts."""
    if name == GENERATE:
        dataset_name(values)
    else:
        check_values(values, COMMANDS.get(name, (TrainConfig, []))[0], groups=groups)


def message_of(name: str, override: Override, values: dict) -> str | None:
    """The sentence that refuses it; None where it is accepted. Anything else is raised."""
    groups = {override.group} | ({"model"} if override.group == "loss" else set())
    started = time.process_time()
    message = None
    try:
        check(name, override.applied(values), groups)
    except (ConfigError, VIMHError) as error:
        message = str(error)
    assert time.process_time() - started < MAX_S, override
    return message


def check_names(override: Override, message: str) -> None:
    """A refusal is one sentence that names the key, or another of the same parameter or section."""
    assert "\n" not in message, override
    section, _, last = override.target.rpartition(".")
    is_recipes = override.target.startswith((*RECIPE_SECTIONS, "data.source"))
    others = [f"{section}.", last.replace("_", " ")] if is_recipes else []
    assert any(name in message for name in (override.target, *others)), (override, message)


def accepted_among(name: str, cases: list[Override], values: dict) -> Accepted:
    accepted: Accepted = {}
    for override in cases:
        message = message_of(name, override, values)
        if message is None:
            accepted.setdefault(override.key, []).append(override.kind)
        else:
            check_names(override, message)
    return accepted


def listed(name: str) -> Accepted:
    """What the file says of an experiment or a command."""
    lines = (line.split(":") for line in ACCEPTED.read_text().splitlines() if line[0] != "#")
    keys = ((*key.split(), kinds) for key, kinds in lines)
    return {key: kinds.split() for found, key, kinds in keys if found == name}


def plain_config(name: str, compose_config) -> dict:
    """Resolved. It passes itself, which also imports what the checks need."""
    given = [f"experiment={name}"] if name in EXPERIMENTS else COMMANDS.get(name, (None, []))[1]
    cfg = compose_config("train" if name in EXPERIMENTS else name, *given)
    values = resolved(cfg)
    check(name, values)
    return values


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.sampled(3)
def test_what_is_accepted_is_listed(name: str, compose_config) -> None:
    """All of the smaller commands; of the others one in so many."""
    values = plain_config(name, compose_config)
    few = Random(name).sample(range(SAMPLED), 1)[0]
    cases = [
        override
        for i, override in enumerate(cases_of(name, values))
        if i % SAMPLED == few or (RECIPE not in override.key and name in WHOLE)
    ]
    tried = {(o.key, o.kind) for o in cases}
    expected = {
        key: kept
        for key, kinds in listed(name).items()
        if (kept := [kind for kind in kinds if (key, kind) in tried])
    }
    assert accepted_among(name, cases, values) == expected


@pytest.mark.slow
def test_the_list_is_whole(compose_config, tmp_path: Path) -> None:
    """On purpose changed: read the differences, and copy the file that the message names."""
    lines = [
        "# experiment or command, key: kinds of values (tests/wrong_overrides.py) that are accepted"
    ]
    for name in NAMES:
        values = plain_config(name, compose_config)
        accepted = accepted_among(name, cases_of(name, values), values)
        lines += [f"{name} {key}: {' '.join(kinds)}" for key, kinds in accepted.items()]
    found = tmp_path / ACCEPTED.name
    found.write_text("\n".join(lines) + "\n")
    assert found.read_text() == ACCEPTED.read_text(), f"cp {found} {ACCEPTED}"


def test_kinds_that_make_no_sense_anywhere_are_accepted_nowhere() -> None:
    senseless = {"nan", "inf", "huge", "large", UNKNOWN}
    for name in NAMES:
        for key, kinds in listed(name).items():
            # A head's name is the data set's.
            if not key.startswith("model.loss_weights."):
                assert not senseless & set(kinds), key


def test_an_interpolation_that_leads_nowhere_is_named_where_it_stands(compose_config) -> None:
    cfg = compose_config("train", f"experiment={EXPERIMENTS[0]}")
    for key in list(keys_of(resolved(cfg)))[::3]:
        changed = deepcopy(cfg)
        with open_dict(changed):
            OmegaConf.update(changed, key, "${nope}", merge=False)
        with pytest.raises(ConfigError, match="nope") as caught:
            check_config(changed, TrainConfig)
        assert str(caught.value).startswith(f"{key} is '${{nope}}': "), key
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["trainer", "paths", "data", "monitor"])
@pytest.mark.parametrize("value", [[1, 2], [], "abc", 5])
def test_a_group_that_others_refer_to_is_named(key: str, value: object, compose_config) -> None:
    cfg = compose_config("train", f"experiment={EXPERIMENTS[0]}")
    with open_dict(cfg):
        OmegaConf.update(cfg, key, value, merge=False)
    with pytest.raises(ConfigError, match=f"^{key} is "):
        check_config(cfg, TrainConfig)


def test_the_kinds_are_applied_and_leave_the_config_alone(compose_config) -> None:
    values = plain_config(EXPERIMENTS[0], compose_config)
    before = deepcopy(values)
    cases = list(overrides(values))
    assert {o.kind for o in cases} == {*KINDS, UNKNOWN}
    for override in cases[::50]:
        override.applied(values)
    assert values == before

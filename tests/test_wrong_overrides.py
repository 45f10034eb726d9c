"""Every key of three experiments with every kind of value: refused in one sentence, or listed.

`accepted_overrides.txt` has what is accepted, read by eye: a line for a key with its kinds of
values (`tests/wrong_overrides.py`). A change of it shows.
"""

import time
from copy import deepcopy
from pathlib import Path
from random import Random

import pytest
from omegaconf import OmegaConf, open_dict

from src.config_check import TrainConfig, check_config, check_values
from src.schema.plain import resolved
from src.utils.errors import ConfigError
from src.vimh.errors import VIMHError
from tests.wrong_overrides import KINDS, UNKNOWN, Override, keys_of, overrides

ACCEPTED = Path(__file__).with_name("accepted_overrides.txt")
EXPERIMENTS = ("digits_cnn", "avix_cnn_72dss_jnd_dg_hybrid", "resonator_cnn")
OWN_GROUPS = ("data", "model", "loss")  # what is different in the other experiments
RECIPE = "data.source.recipe"
SAMPLED = 24  # one in so many of a recipe's cases is run by the fast form
MAX_S = 2.0  # for one config, on a busy machine

Accepted = dict[str, list[str]]


def cases_of(experiment: str, values: dict) -> list[Override]:
    """Its overrides; those of groups that are the same in all are the first experiment's."""
    is_first = experiment == EXPERIMENTS[0]
    return [o for o in overrides(values) if is_first or o.group in OWN_GROUPS]


def message_of(override: Override, values: dict) -> str | None:
    """The sentence that refuses it; None where it is accepted. Anything else is raised."""
    groups = {override.group} | ({"model"} if override.group == "loss" else set())
    started = time.process_time()
    message = None
    try:
        check_values(override.applied(values), TrainConfig, groups=groups)
    except (ConfigError, VIMHError) as error:
        message = str(error)
    assert time.process_time() - started < MAX_S, override
    return message


def check_names(override: Override, message: str) -> None:
    """A refusal is one sentence that names the key."""
    assert "\n" not in message, override
    if override.target.startswith("data.source"):  # a recipe says it in its own words
        assert message.startswith(("data.source", "data.data_dir")), (override, message)
    else:
        assert override.target in message, (override, message)


def accepted_among(cases: list[Override], values: dict) -> Accepted:
    accepted: Accepted = {}
    for override in cases:
        message = message_of(override, values)
        if message is None:
            accepted.setdefault(override.key, []).append(override.kind)
        else:
            check_names(override, message)
    return accepted


def listed(experiment: str) -> Accepted:
    """What the file says of an experiment."""
    lines = (line.split(":") for line in ACCEPTED.read_text().splitlines() if line[0] != "#")
    keys = ((*key.split(), kinds) for key, kinds in lines)
    return {key: kinds.split() for found, key, kinds in keys if found == experiment}


def plain_config(experiment: str, compose_config) -> dict:
    """Resolved. It passes itself, which also imports what the checks need."""
    values = resolved(compose_config("train", f"experiment={experiment}"))
    check_values(values, TrainConfig)
    return values


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_what_is_accepted_is_listed(experiment: str, compose_config) -> None:
    values = plain_config(experiment, compose_config)
    cases = cases_of(experiment, values)
    few = Random(experiment).sample(range(SAMPLED), 1)[0]
    cases = [o for i, o in enumerate(cases) if RECIPE not in o.key or i % SAMPLED == few]
    tried = {(o.key, o.kind) for o in cases}
    expected = {
        key: kept
        for key, kinds in listed(experiment).items()
        if (kept := [kind for kind in kinds if (key, kind) in tried])
    }
    assert accepted_among(cases, values) == expected


@pytest.mark.slow
def test_the_list_is_whole(compose_config, tmp_path: Path) -> None:
    """On purpose changed: read the differences, and copy the file that the message names."""
    lines = ["# experiment key: kinds of values (tests/wrong_overrides.py) that are accepted"]
    for experiment in EXPERIMENTS:
        values = plain_config(experiment, compose_config)
        accepted = accepted_among(cases_of(experiment, values), values)
        lines += [f"{experiment} {key}: {' '.join(kinds)}" for key, kinds in accepted.items()]
    found = tmp_path / ACCEPTED.name
    found.write_text("\n".join(lines) + "\n")
    assert found.read_text() == ACCEPTED.read_text(), f"cp {found} {ACCEPTED}"


def test_kinds_that_make_no_sense_anywhere_are_accepted_nowhere() -> None:
    senseless = {"nan", "inf", "huge", "large", UNKNOWN}
    for experiment in EXPERIMENTS:
        for key, kinds in listed(experiment).items():
            # A recipe's numbers have no bounds of their own; a head's name is the data set's.
            if not key.startswith((RECIPE, "model.loss_weights.")):
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

"""The search space against Hydra's documented override grammar."""

from pathlib import Path

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from hydra.core.override_parser.overrides_parser import OverridesParser
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from hydra_plugins.avix_optuna_sweeper._config import SweepError
from hydra_plugins.avix_optuna_sweeper._space import SearchSpace


@pytest.fixture(scope="module")
def parser(project_root: Path) -> OverridesParser:
    loader = ConfigLoaderImpl(create_config_search_path(str(project_root / "configs")))
    return OverridesParser.create(config_loader=loader)


@pytest.mark.parametrize(
    ("sweep", "distribution"),
    [
        ("interval(0, 1)", FloatDistribution(0, 1)),
        ("interval(1e-4, 0.1)", FloatDistribution(1e-4, 0.1)),
        ("tag(log, interval(1e-4, 0.1))", FloatDistribution(1e-4, 0.1, log=True)),
        # start <= value < end, as Hydra says of intervals
        ("int(interval(1, 8))", IntDistribution(1, 7)),
        ("tag(log, int(interval(1, 65)))", IntDistribution(1, 64, log=True)),
        # and the stop of a range does not belong to it
        ("range(1, 5)", IntDistribution(1, 4)),
        ("range(10)", IntDistribution(0, 9)),
        ("range(0, 10, 4)", IntDistribution(0, 8, step=4)),
        ("range(5, 1, -2)", IntDistribution(3, 5, step=2)),
        ("tag(log, range(1, 9))", IntDistribution(1, 8, log=True)),
        ("range(0.0, 0.5, 0.25)", FloatDistribution(0.0, 0.25, step=0.25)),
        ("shuffle(range(1, 4))", IntDistribution(1, 3)),
        ("1,2,4", CategoricalDistribution((1, 2, 4))),
        ("choice(a, b)", CategoricalDistribution(("a", "b"))),
        ("choice(true, false)", CategoricalDistribution((True, False))),
        ("null, 1", CategoricalDistribution(("null", 1))),
        ("choice([1,2],[3])", CategoricalDistribution(("[1,2]", "[3]"))),
    ],
)
def test_sweeps_of_the_grammar(parser, sweep, distribution) -> None:
    space = SearchSpace.parse(parser, {"a.b": sweep}, [])
    assert space.distributions == {"a.b": distribution}


def test_a_glob_is_a_choice_of_files(parser) -> None:
    space = SearchSpace.parse(parser, {"loss": "glob(*regression)"}, [])
    (distribution,) = space.distributions.values()
    assert isinstance(distribution, CategoricalDistribution)
    assert "direct_regression" in distribution.choices


@pytest.mark.parametrize(
    ("sweep", "value", "override"),
    [
        ("interval(0, 1)", 0.125, "k=0.125"),
        ("interval(0, 1)", 1e-05, "k=1e-05"),
        ("range(1, 5)", 3, "k=3"),
        ("a, 'b c', null", "null", "k=null"),
        ("choice([1,2], {x:1})", "[1,2]", "k=[1,2]"),
        ("choice('b c', 'd,e')", "b c", r"k=b\ c"),
    ],
)
def test_suggestions_become_overrides_that_hydra_reads(parser, sweep, value, override) -> None:
    space = SearchSpace.parse(parser, {"k": sweep}, [])
    assert space.overrides({"k": value}) == [override]
    (parsed,) = parser.parse_overrides([override])
    assert parsed.value() == {"null": None, "[1,2]": [1, 2]}.get(value, value)


def test_the_command_line_comes_before_the_config(parser) -> None:
    params = {"a": "interval(0, 1)", "b": "choice(1, 2)", "c": 3, "+d.e": "range(3)"}
    space = SearchSpace.parse(parser, params, ["a=0.5", "b=choice(7, 8)", "seed=1"])
    assert space.fixed == ("a=0.5", "seed=1", "c=3")
    assert space.distributions["b"] == CategoricalDistribution((7, 8))
    assert space.overrides({"b": 8, "d.e": 2}) == ["a=0.5", "seed=1", "c=3", "b=8", "+d.e=2"]


def test_samples_have_every_choice_and_both_ends(parser) -> None:
    params = {"a": "choice(1, 2, 3)", "b": "interval(0, 1)", "c": "range(5)"}
    samples = list(SearchSpace.parse(parser, params, ["s=1"]).samples())
    assert samples == [
        ["s=1", "a=1", "b=0.0", "c=0"],
        ["s=1", "a=2", "b=1.0", "c=4"],
        ["s=1", "a=3", "b=0.0", "c=0"],
    ]


@pytest.mark.parametrize(
    ("sweep", "sentence"),
    [
        ("interval(1, 0)", "start < end"),
        ("tag(log, interval(0, 1))", "start > 0 for log"),
        ("tag(log, range(2, 9, 2))", "step 1"),
        ("tag(log, range(0.5, 2, 0.5))", "interval"),
        ("tag(log, choice(1, 2))", "Choices take no tags"),
        ("tag(q, interval(0, 1))", "The only tag is log"),
        ("choice(1, 1)", "different choices"),
        ("range(2, 2)", "empty"),
        ("interval(1", "hydra.sweeper.params"),
    ],
)
def test_what_cannot_be_searched_is_an_error(parser, sweep, sentence) -> None:
    with pytest.raises(SweepError, match=sentence):
        SearchSpace.parse(parser, {"k": sweep}, [])

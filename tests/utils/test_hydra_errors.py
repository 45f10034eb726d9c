"""What Hydra refuses names the word of the command line that is at fault."""

import pytest
from omegaconf.errors import InterpolationKeyError

from src.utils.foreign_errors import refusal

NOPE = InterpolationKeyError(
    "Interpolation key 'paths.nope' not found\n    full_key: hydra.run.dir"
)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["a=1", "task_name=${paths.nope}"], "task_name is '${paths.nope}': Interpolation key "),
        (["+task_name='${paths.nope}'"], "task_name is '${paths.nope}': Interpolation key "),
        (["~paths"], "paths is left out, but other keys refer to it: Interpolation key "),
        (["a=1"], "Interpolation key 'paths.nope' not found"),
    ],
)
def test_the_word_is_named(words: list[str], said: str) -> None:
    assert str(refusal(NOPE, words)).startswith(said)


def test_a_choice_that_is_a_number_is_refused_by_a_plain_value_error() -> None:
    error = ValueError("Config group override must be a string or a list. Got int")
    assert str(refusal(error)).endswith("Got int: expected the name of a file, as in trainer=cpu")


def test_other_errors_are_not_its_business() -> None:
    assert refusal(ValueError("a")) is None
    assert refusal(OSError("a")) is None

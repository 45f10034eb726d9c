"""The networks and losses that configs name, and what their signatures say."""

import inspect

import pytest
from torch import nn

from src.model_settings import LOSSES, NETWORKS
from src.schema.arguments import signature_of

OURS = sorted({*NETWORKS.values(), *LOSSES.values()} - {nn.CrossEntropyLoss}, key=str)


@pytest.mark.parametrize("cls", OURS, ids=lambda cls: cls.__name__)
def test_every_argument_says_what_it_may_be(cls: type) -> None:
    """An annotation that cannot be looked up would leave all of them unchecked."""
    signature = signature_of(cls)
    assert not signature.is_open
    for name, argument in signature.arguments.items():
        assert argument.hint is not inspect.Parameter.empty, name
        assert not isinstance(argument.hint, str), name


@pytest.mark.parametrize("cls", sorted({*NETWORKS.values()}, key=str), ids=lambda cls: cls.__name__)
def test_every_network_takes_parameter_ranges(cls: type) -> None:
    assert "parameter_ranges" in signature_of(cls).arguments

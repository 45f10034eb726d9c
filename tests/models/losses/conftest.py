"""Parameters of the kinds that heads come in."""

import pytest

from src.vimh.parameters import Parameter


@pytest.fixture
def decay() -> Parameter:
    """24 classes, min and max on the grid."""
    return Parameter("log10_decay_time", -2.0, 0.3, 0.1)


@pytest.fixture
def velocity() -> Parameter:
    """3 classes: a range of two JND far from zero."""
    return Parameter("note_velocity", 126.0, 127.0, 0.5)


@pytest.fixture
def stepless() -> Parameter:
    """256 classes, the bytes."""
    return Parameter("cutoff", 10.0, 20.0)


@pytest.fixture
def octaves() -> Parameter:
    """3 classes whose steps are ratios of 2."""
    return Parameter("frequency", 110.0, 440.0, 1.0, spacing="log")


@pytest.fixture
def digit() -> Parameter:
    """A categorical head, stored as bytes 0...255."""
    return Parameter(
        "digit", 0.0, 255.0, kind="categorical", class_names=tuple(str(n) for n in range(10))
    )

"""What the type checker of the tests would refuse before the data module sees it."""

from typing import Any

import pytest

from src.data.arguments import whole
from src.utils.errors import ConfigError


@pytest.mark.parametrize("value", [2.5, True, "8", 0])
def test_numbers_of_samples_are_whole(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"data.batch_size is .*a whole number of at least 1"):
        whole("batch_size", value, 1)
    assert whole("batch_size", 8, 1) == 8

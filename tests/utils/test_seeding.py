from typing import Any

import pytest
import torch

from src.utils.errors import ConfigError
from src.utils.utils import seed_everything


@pytest.mark.parametrize("seed", [-1, 2**32, 10**23, 1.5, "abc", True, float("nan")])
def test_a_seed_out_of_range_is_told(seed: Any) -> None:
    with pytest.raises(
        ConfigError, match=r"^seed is .*; expected a whole number from 0 to 4294967295"
    ):
        seed_everything(seed)


def test_the_same_seed_draws_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
    with torch.random.fork_rng(devices=[]):
        drawn = []
        for seed in (0, 2**32 - 1, 0):
            seed_everything(seed)
            drawn.append(torch.rand(1).item())
        state = torch.get_rng_state()
        seed_everything(None)
        assert torch.equal(torch.get_rng_state(), state)
    assert drawn[0] == drawn[2] != drawn[1]

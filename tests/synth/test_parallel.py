import pytest
import torch

from src.synth.parallel import in_order


def test_results_come_in_order_and_torch_has_one_thread_of_its_own_meanwhile() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        threads = [result for _, result in in_order(lambda _: torch.get_num_threads(), range(40))]
        assert threads == [1] * 40
        assert torch.get_num_threads() == 3
        assert [r for _, r in in_order(lambda x: x * x, range(40), threads=3)] == [
            x * x for x in range(40)
        ]
    finally:
        torch.set_num_threads(before)


def test_an_error_leaves_torch_with_the_threads_it_had() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with pytest.raises(ZeroDivisionError):
            list(in_order(lambda x: 1 // x, range(3), threads=2))
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)

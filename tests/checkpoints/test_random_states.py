import io
import random

import numpy as np
import torch

from src.checkpoints.resumable import random_states, restore_random_states


def _draw() -> tuple[float, float, float, float]:
    return (
        random.random(),
        random.gauss(0, 1),
        float(np.random.normal()),  # noqa: NPY002
        float(torch.rand(())),
    )


def test_what_was_drawn_is_drawn_again_after_a_trip_through_a_checkpoint() -> None:
    _draw()  # an odd number of normals: one of the pair is cached
    file = io.BytesIO()
    torch.save(random_states(), file)
    expected = [_draw() for _ in range(3)]
    file.seek(0)
    restore_random_states(torch.load(file, weights_only=True))
    assert [_draw() for _ in range(3)] == expected

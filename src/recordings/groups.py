"""Dividing samples at random so that what belongs together stays together."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int64, Integer

# Metadata: the labels of the recordings said what trains and what tests.
SPLIT_KEY, GIVEN = "split", "given"
_PASSES = 1000  # of improving a division; each lowers the distance to the shares


def divide_groups(
    groups: Integer[np.ndarray, "N"], shares: Sequence[float], seed: int
) -> list[Int64[np.ndarray, "_"]]:
    """Divide samples by whole groups, as near to the shares as moving any one group can come.

    Groups are dealt in random order, each to the part that lacks most samples. Then single groups
    move as long as that brings the sizes nearer to the shares. A part with a share above 0 gets
    at least one group.

    Args:
        groups: the group of each sample.
        shares: of each part, adding up to 1.
        seed: of the random order.

    Returns:
        The sorted samples of each part.

    Example:
        >>> [part.tolist() for part in divide_groups(np.array([7, 7, 5, 5, 7]), (0.5, 0.5), 1)]
        [[2, 3], [0, 1, 4]]
    """
    _, members, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    wanted = [place for place, share in enumerate(shares) if share > 0]
    assert len(sizes) >= len(wanted), "the caller counts the groups"
    targets = np.array(shares, dtype=np.float64) * len(groups)
    order = np.random.Generator(np.random.Philox(key=seed)).permutation(len(sizes))
    part_of = np.zeros(len(sizes), dtype=np.int64)
    lacking = targets.copy()
    empty = set(wanted)
    for dealt, group in enumerate(order.tolist()):
        # The last groups go to the parts that have none yet.
        open_parts = sorted(empty) if len(empty) == len(order) - dealt else wanted
        part = max(open_parts, key=lambda place: lacking[place])
        part_of[group] = part
        lacking[part] -= sizes[group]
        empty.discard(part)
    _improve(part_of, sizes, lacking, wanted)
    return [np.flatnonzero(part_of[members] == part) for part in range(len(shares))]


def _improve(
    part_of: Int64[np.ndarray, "G"],
    sizes: Integer[np.ndarray, "G"],
    lacking: np.ndarray,
    wanted: Sequence[int],
) -> None:
    """Move single groups, in place, while a move lowers the sum of the distances to the shares."""
    for _ in range(_PASSES):
        best = (-1e-9, -1, -1)  # change of the distance, group, part
        for source in wanted:
            own = np.flatnonzero(part_of == source)
            if len(own) < 2:
                continue
            for target in wanted:
                if target == source:
                    continue
                here, there = lacking[source], lacking[target]
                change = np.abs(here + sizes[own]) + np.abs(there - sizes[own])
                change -= abs(here) + abs(there)
                best = min(best, (float(change.min()), int(own[change.argmin()]), target))
        _, group, target = best
        if group < 0:
            return
        lacking[part_of[group]] += sizes[group]
        lacking[target] -= sizes[group]
        part_of[group] = target

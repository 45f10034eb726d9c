"""How many cases the fuzzers try: 60 each in `make test`, 13,000 of most in `make fuzz`."""

import os

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

CASES = int(os.environ.get("AVIX_FUZZ", "60"))
FUZZ = settings(
    max_examples=CASES,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.generate),  # shrinking a failure takes minutes
)
# For what takes ten times as long.
FUZZ_FEW = settings(FUZZ, max_examples=max(60, CASES // 10))

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
# What happens to a file: bits flip, it ends early, bytes are added, a piece is written twice.
damages = st.tuples(
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 7)), max_size=4),
    st.integers(0, 80) | st.integers(0, 10**6),
    st.binary(max_size=8),
    st.none() | st.tuples(st.integers(0, 10**6), st.integers(1, 64)),
)


def damaged(data: bytes, damage: tuple) -> bytes:
    """The bytes after a damage; they may still be the same."""
    flips, cut, added, doubled = damage
    changed = bytearray(data)
    for position, bit in flips:
        changed[position % len(changed)] ^= 1 << bit
    if doubled is not None:
        start = doubled[0] % len(changed)
        changed[start:start] = changed[start : start + doubled[1]]
    if cut:
        del changed[len(changed) - cut % len(changed) :]
    return bytes(changed) + added

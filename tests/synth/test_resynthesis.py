import numpy as np
import pytest

from src.synth.resynthesis import resynthesise
from src.synth.synthesizers import build_synthesizer
from src.vimh.errors import VIMHError

SYNTHS = {
    "src.synth.synthesizers.SimpleSawSynth": {"note_number": (57, 57, 1)},
    "src.synth.resonator.ResonatorSynth": {
        "log10_frequency": (2.0, 3.0, 0.1), "log10_q": (0.0, 2.0, 0.1),
    },
    "src.synth.string.StringSynth": {"note_number": (45, 57, 1)},
}  # fmt: skip


@pytest.fixture(params=SYNTHS)
def synthesizer(request):
    ranges = {**SYNTHS[request.param], "note_velocity": (10, 126, 2)}
    if "Resonator" not in request.param:
        ranges["log10_decay_time"] = (-2.0, 0.3, 0.1)
    options = {"excitation": "noise"} if "Resonator" in request.param else {}
    parameters = {n: {"min": a, "max": b, "step": s} for n, (a, b, s) in ranges.items()}
    config = {"_target_": request.param, "parameters": parameters, **options}
    return build_synthesizer(config, sample_rate_hz=8000, duration_s=0.1)


def test_a_nan_makes_its_own_sound_nan_and_no_other(synthesizer) -> None:
    heads = synthesizer.parameters.heads
    values = {name: np.full(3, p.max) for name, p in heads.items()}
    whole = resynthesise(synthesizer, values)
    assert whole.shape == (3, 800)
    assert np.isfinite(whole).all()
    first = next(iter(values))
    values[first] = np.array([heads[first].max, np.nan, heads[first].max])
    found = resynthesise(synthesizer, values)
    assert np.isnan(found[1]).all()
    np.testing.assert_array_equal(found[[0, 2]], whole[[0, 2]])
    values[first] = np.full(3, np.nan)
    assert np.isnan(resynthesise(synthesizer, values)).all()


def test_values_are_kept_within_their_range(synthesizer) -> None:
    heads = synthesizer.parameters.heads
    inside, outside = (
        {name: np.array([p.max + beyond]) for name, p in heads.items()} for beyond in (0.0, np.inf)
    )
    found = resynthesise(synthesizer, outside)
    np.testing.assert_array_equal(found, resynthesise(synthesizer, inside))


def test_a_missing_parameter_is_named(synthesizer) -> None:
    with pytest.raises(VIMHError, match=r"needs .*note_velocity"):
        resynthesise(synthesizer, {"other": np.zeros(1)})

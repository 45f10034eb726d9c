"""Parameters that only scale the sound, of every synthesiser that says it has one."""

from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from src.schema.plain import plain_values
from src.schema.specs import imported
from src.synth.synthesizers import Synthesizer, build_synthesizer

CONFIGS_DIR = Path(__file__).resolve().parents[2] / "configs" / "synth"
with initialize_config_dir(str(CONFIGS_DIR), version_base="1.3"):
    COMPOSED = {path.stem: compose(path.stem) for path in sorted(CONFIGS_DIR.glob("*.yaml"))}
# Some need the path of a program: they are left out.
CONFIGS = {
    name: plain_values(cfg) for name, cfg in COMPOSED.items() if not OmegaConf.missing_keys(cfg)
}
LEVELS = {
    name: cls.level_parameter
    for name, config in CONFIGS.items()
    if "_target_" in config
    for cls in [imported(config["_target_"], "synth._target_")]
    if issubclass(cls, Synthesizer) and cls.level_parameter is not None
}


@pytest.mark.parametrize("name", LEVELS)
def test_the_level_scales_the_sound_and_does_nothing_else(name: str) -> None:
    level = LEVELS[name]
    synth = build_synthesizer(CONFIGS[name], sample_rate_hz=44100, duration_s=0.05)
    middle = {p.name: np.full(3, p.denormalise(0.4)) for p in synth.parameters.values()}
    middle[level] *= np.array([1.0, 0.5, 0.25])
    audio = synth.render(middle).astype(np.float64)
    assert np.abs(audio).max() > 0
    for row, share in ((1, 0.5), (2, 0.25)):
        wanted = audio[0] * share**synth.level_power
        assert np.abs(audio[row] - wanted).max() < 1e-6 * np.abs(wanted).max()


def test_levels_are_declared() -> None:
    assert LEVELS["plate"] == "area_density"
    assert all(LEVELS[n] == "note_velocity" for n in ("simple", "resonator", "string", "moog_wave"))

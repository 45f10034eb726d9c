import numpy as np
import pytest

from src.inputs.auxiliary import AuxiliaryFeatures
from src.utils.errors import ConfigError
from src.vimh.metadata import Metadata

SOUND = Metadata.from_json(
    {
        "height": 8,
        "width": 12,
        "channels": 1,
        "parameter_names": ["p"],
        "parameter_mappings": {"p": {"min": 0.0, "max": 1.0, "step": 0.5}},
        "sample_rate": 8000,
        "spectrogram_config": {"hop_length": 80},
    }
)


def test_every_number_has_a_name() -> None:
    assert len(AuxiliaryFeatures(["decay_time", "level", "range"], SOUND).names) == 6


@pytest.mark.parametrize("feature", ["decay_time", "level", "range"])
def test_scale_factors_that_are_no_levels_are_refused(feature: str) -> None:
    features = AuxiliaryFeatures([feature], SOUND)
    levels = np.array([[-200.0, -3.0], [-80.0, 130.0]], np.float32)
    features.check_levels(levels, "here")
    features.check_levels(np.empty((0, 2), np.float32), "here")
    for wrong in ([0.0, 4066.0], [0.0, 255.0]):  # of peers' normalised pixels; of no sound at all
        other = np.concatenate([levels, np.array([wrong], np.float32)])
        with pytest.raises(
            ConfigError, match=rf"{feature} need levels in dB.* here .*{wrong[1]:g}"
        ):
            features.check_levels(other, "here")
        AuxiliaryFeatures([], SOUND).check_levels(other, "here")

"""What fits a synthesiser to sounds, made as a command line asks for it."""

from collections.abc import Mapping
from importlib.util import find_spec

import numpy as np
from jaxtyping import Float32

from src.calibration.calibration import Calibration
from src.refining.refiner import Refined, Refiner
from src.synth.synthesizers import Synthesizer
from src.utils.errors import ConfigError
from src.vimh.metadata import Metadata

CMA = "cma"  # a value of `refine`, and the package that it needs


def check_method(refine: bool | str) -> None:
    """Refuse a method whose package is not there.

    Raises:
        ConfigError: naming the package.
    """
    if refine == CMA and find_spec(CMA) is None:
        raise ConfigError(
            "refine=cma needs the package cma: pip install -e '.[refine]', or say refine=true"
        )


def make_refiner(
    synthesizer: Synthesizer | None,
    metadata: Metadata,
    calibration: Calibration | None,
    refine: bool | str,
    seed: int = 42,
) -> Refiner:
    """Return what fits a synthesiser.

    Args:
        synthesizer: of the data set; None where it was not synthesised.
        metadata: of the data set.
        calibration: of the model, which knows the spread of its errors; None: it is not known.
        refine: true, or the name of a method.
        seed: of the draws.

    Raises:
        ConfigError: if there is nothing to fit.
    """
    if synthesizer is None:
        raise ConfigError(
            "refine fits a synthesiser to the sound, but there is none: the data set "
            f"{metadata.dataset_name} was not synthesised. Leave refine out"
        )
    spread = {} if calibration is None else calibration.spread
    return Refiner(synthesizer, spread, seed=seed, method="cma" if refine == CMA else "auto")


def refined_values(
    refiner: Refiner, sound: Float32[np.ndarray, "T"], start: Mapping[str, float] | None
) -> Refined | None:
    """Refine the values of one sound; None where it is silent or a value is no number."""
    if not sound.any() or (start is not None and np.isnan(list(start.values())).any()):
        return None
    return refiner(sound, start)

"""Parameters back to sound, by the synthesiser that a data set's recipe names."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float32, Float64

from src.schema.arguments import shown
from src.schema.plain import check_plain
from src.schema.specs import listed
from src.synth.errors import LostSounds, RecipeError, recipe_errors
from src.synth.recipe import Recipe
from src.synth.rendering import check_finite, render
from src.synth.synthesizers import Synthesizer
from src.synth.table import own_classes
from src.utils.errors import ConfigError
from src.utils.pylogger import RankedLogger
from src.vimh.errors import VIMHError
from src.vimh.metadata import Metadata
from src.vimh.parameters import Parameter, Values

log = RankedLogger(__name__, rank_zero_only=True)


def synthesizer_of(metadata: Metadata) -> Synthesizer | None:
    """Build the synthesiser that made a data set, from the recipe in its metadata.

    Anybody may have written the metadata. So it is read as plain data, and names a class of
    `src.synth` or of a module that the user trusts.

    Args:
        metadata: what describes the data set.

    Returns:
        The synthesiser, or None where the data set was not synthesised.

    Raises:
        VIMHError: if the recipe names another class, or makes no sound.
    """
    recipe = metadata.recipe
    if recipe is None or "synth" not in recipe:
        return None
    where = f"data set {metadata.dataset_name}: recipe"
    if not isinstance(recipe["synth"], Mapping):
        raise VIMHError(f"{where}.synth is {shown(recipe['synth'])}; expected a mapping")
    try:
        check_plain(recipe, where)
    except ConfigError as error:
        raise VIMHError(str(error)) from error
    target = recipe["synth"].get("_target_")
    if not isinstance(target, str):
        raise VIMHError(f"{where}.synth._target_ is {shown(target)}; expected an import path")
    with recipe_errors(f"{where}."):
        look_up = listed(own_classes(Synthesizer), "a file may name only synthesisers")
        cls = look_up(target, "synth._target_")
        if not issubclass(cls, Synthesizer):
            raise RecipeError(f"synth._target_ is {target}, which is no {Synthesizer.__name__}")
        own = cls.admitted(recipe["synth"])
        return Recipe.from_mapping({**recipe, "synth": own}).build_synthesizer()


def resynthesise(
    synthesizer: Synthesizer, values: Mapping[str, Values]
) -> Float32[np.ndarray, "B T"]:
    """Return the sounds of some parameter values; fixed parameters are as the recipe has them.

    Args:
        synthesizer: what renders; in this thread alone.
        values: of each varying parameter, (B,) in its unit, kept within min…max; of a categorical
            parameter the index of its class.

    Returns:
        The sounds; that of a sample with a NaN among its values is all NaN, and so is one that an
        engine does not make.

    Raises:
        VIMHError: if a parameter of the synthesiser is missing, or a sound is not finite.
    """
    heads = synthesizer.parameters.heads
    if missing := [name for name in heads if name not in values]:
        raise VIMHError(
            f"the recipe's synthesiser {synthesizer.synth_type} needs {', '.join(missing)}, "
            f"but there are only {', '.join(values)}"
        )
    columns = {
        name: _within(p, np.asarray(values[name], dtype=np.float64).reshape(-1))
        for name, p in heads.items()
    }
    rendered = np.asarray(~np.isnan(list(columns.values())).any(axis=0))
    sounds = np.full((len(rendered), synthesizer.num_samples), np.nan, dtype=np.float32)
    if rendered.any():
        batch = int(rendered.sum())
        fixed = {name: np.full(batch, p.min) for name, p in synthesizer.parameters.fixed.items()}
        known = {**{name: column[rendered] for name, column in columns.items()}, **fixed}
        ordered = {name: known[name] for name in synthesizer.parameters}
        try:
            audio = render(synthesizer, ordered)
            check_finite(synthesizer, audio, ordered)
        except LostSounds as lost:
            log.warning("%s", lost)
            audio = lost.audio
        sounds[rendered] = audio
    return sounds


def _within(parameter: Parameter, values: Float64[np.ndarray, "B"]) -> Float64[np.ndarray, "B"]:
    """Values that the parameter has; a NaN stays one."""
    if parameter.is_categorical:
        return np.asarray(np.round(values).clip(0, parameter.num_classes - 1))
    return values.clip(parameter.min, parameter.max)

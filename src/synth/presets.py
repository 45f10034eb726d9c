"""The front ends of `configs/front_end` by name: image, transform and filters in one word."""

from collections.abc import Mapping
from pathlib import Path

from omegaconf import OmegaConf

from src.schema.arguments import shown
from src.schema.plain import plain_values
from src.synth.errors import RecipeError

KEY = "front_end"
_FOLDER = Path(__file__).parents[2] / "configs" / KEY


def front_end_preset(name: object) -> dict[str, dict[str, object]]:
    """Return what a preset says of a recipe's `image`, `stft` and `mel`.

    Times and `auto` in it become samples where the sample rate and the duration are known:
    :func:`src.synth.settings.build_front_end`.

    Raises:
        RecipeError: for a name that `configs/front_end` does not have.

    Example:
        >>> front_end_preset("mel_64")["image"]
        {'height': 64, 'width': 64}
    """
    names = sorted(path.stem for path in _FOLDER.glob("*.yaml"))
    if name not in names:
        raise RecipeError(f"{KEY} is {shown(name)}; expected one of {', '.join(names)}")
    preset: dict[str, dict[str, object]]
    preset = plain_values(OmegaConf.load(_FOLDER / f"{name}.yaml"))
    return preset


def with_preset(recipe: Mapping[str, object]) -> dict[str, object]:
    """Return a recipe with its `front_end` spelled out; its own `image`, `stft`, `mel` win.

    Raises:
        RecipeError: for an unknown name, and where nothing of the preset would be left.

    Example:
        >>> with_preset({"front_end": "mel_64", "image": {"height": 40}})["image"]
        {'height': 40, 'width': 64}
    """
    rest = {key: value for key, value in recipe.items() if key != KEY}
    if recipe.get(KEY) is None:
        return rest
    preset = front_end_preset(recipe[KEY])
    own = {key: rest.get(key) or {} for key in preset}
    is_left = False
    for key, part in preset.items():
        given = own[key]
        if isinstance(given, Mapping):  # what is no mapping is refused by the recipe's own check
            rest[key] = {**part, **given}
            is_left |= key != "mel" and not part.keys() <= given.keys()
    if not is_left:
        raise RecipeError(
            f"{KEY} is {recipe[KEY]}, but image and stft give all that it says; leave them out, "
            f"or let it follow them: {KEY}={recipe[KEY]} on the command line"
        )
    return rest

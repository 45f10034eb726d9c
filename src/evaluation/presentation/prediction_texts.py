"""A prediction in words: values, intervals, what became of refining."""

from src.evaluation.prediction.predictor import Prediction
from src.evaluation.presentation.image_axes import value_text
from src.refining.refiner import Refined
from src.vimh.parameters import Parameter


def interval_text(parameter: Parameter, prediction: Prediction) -> str:
    """Return the interval of a value, or the other classes that may be true, in brackets."""
    doubt = prediction.doubt
    if doubt is None:
        return ""
    if parameter.name in doubt.ends:
        low, high = (value_text(parameter, end) for end in doubt.ends[parameter.name])
        return f" [{low}, {high}]"
    classes = doubt.classes[parameter.name]
    return f" [{', '.join(classes)}]" if len(classes) > 1 else ""


def predicted_text(
    parameter: Parameter, prediction: Prediction, unit: str = "", most: int = 1
) -> str:
    """Return a predicted number with the unit that is given, or the most probable classes."""
    shares = prediction.probabilities.get(parameter.name)
    if not isinstance(shares, dict):
        return value_text(parameter, prediction.values[parameter.name], unit)
    best = sorted(shares, key=lambda name: -shares[name])[:most]
    return ", ".join(f"{name} {100 * shares[name]:.0f} %" for name in best)


def refining_text(found: Refined) -> str:
    """Return what became of refining, in a sentence."""
    effort = f"{found.renders} renders, {found.seconds:.1f} s"
    if not found.converged:
        return (
            f"refining did not converge (residual {found.residual_db:.1f} dB, {effort}): "
            "the network's values are kept"
        )
    return f"refined: residual {found.residual_db:.1f} dB of the {found.compared}, {effort}"

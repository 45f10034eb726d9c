"""Group metrics by head, and write them as text for people who watch a run."""

import re
from collections.abc import Mapping

OVERALL = "all"
GRADIENTS = "gradients"
# The names that models log: "{stage}/{metric}" or "{stage}/{head}_{metric}", some with the ending
# "_best" or "_step".
_KIND = r"(?:loss|acc|mae|mae_percent|mae_jnd|jnd)(?:_best|_step|_epoch)?"
# Names without a head come first: otherwise "mae_jnd" would be the "jnd" of a head called "mae".
_METRIC = re.compile(
    rf"(?:(?P<stage>train|val|test)/)?(?:(?P<metric>{_KIND})|(?P<head>.+?)_(?P<own>{_KIND}))"
)
_STAGES = {"train": 0, "val": 1, "test": 2}

Groups = dict[str, dict[str, int | float]]


def group_metrics(metrics: Mapping[str, int | float]) -> Groups:
    """Group metrics by head.

    Args:
        metrics: Values by logged name, such as ``"val/note_velocity_mae_jnd"``.

    Returns:
        For each head, and first for all of them, ``{"val mae_jnd": value}``. Other names stay as
        they are, among the metrics of all heads.

    Example:
        >>> group_metrics({"val/level_mae_jnd": 0.4, "val/mae_jnd": 0.5, "lr": 0.1})
        {'all': {'val mae_jnd': 0.5, 'lr': 0.1}, 'level': {'val mae_jnd': 0.4}}
    """
    groups: Groups = {OVERALL: {}}
    for name, value in metrics.items():
        match = _METRIC.fullmatch(name)
        if match is None:
            groups[OVERALL][name] = value
            continue
        shown = " ".join(filter(None, (match["stage"], match["metric"] or match["own"])))
        groups.setdefault(match["head"] or OVERALL, {})[shown] = value
    return groups


def format_groups(groups: Groups, value_format: str = ".4g", max_heads: int = 8) -> dict[str, str]:
    """Write one line of text for each group, training first.

    Args:
        groups: From :func:`group_metrics`.
        value_format: The format of a value.
        max_heads: The most heads with a line; a last line counts the others.

    Example:
        >>> format_groups({"all": {"val loss": 0.25, "train loss": 0.5}})
        {'all': 'train loss 0.5  val loss 0.25'}
    """
    lines = {}
    for group, values in groups.items():
        ordered = sorted(values.items(), key=lambda item: _STAGES.get(item[0].split()[0], -1))
        lines[group] = "  ".join(f"{name} {value:{value_format}}" for name, value in ordered)
    heads = [group for group in lines if group not in (OVERALL, GRADIENTS)]
    for hidden in heads[max_heads:]:
        del lines[hidden]
    if len(heads) > max_heads:
        lines["..."] = f"and {len(heads) - max_heads} more heads"
    return {group: text for group, text in lines.items() if text}

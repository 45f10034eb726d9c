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
_MAIN = ("loss", "jnd", "mae_jnd", "acc")
_STAGES = {"train": 0, "val": 1, "test": 2}

Groups = dict[str, dict[str, int | float]]


def metric_parts(name: str) -> tuple[str, str, str]:
    """Return the stage, the head and the metric of a logged name.

    The stage is "" where there is none, and the head "all" for all of them; a name that is not one
    of a model's is a metric as it is.

    Example:
        >>> metric_parts("val/level_mae_jnd"), metric_parts("lr-AdamW")
        (('val', 'level', 'mae_jnd'), ('', 'all', 'lr-AdamW'))
    """
    match = _METRIC.fullmatch(name)
    if match is None:
        return "", OVERALL, name
    return match["stage"] or "", match["head"] or OVERALL, match["metric"] or match["own"]


def group_metrics(metrics: Mapping[str, int | float]) -> Groups:
    """Group metrics by head, those of all heads first.

    Names that are not a model's stay as they are, among the metrics of all heads.

    Example:
        >>> group_metrics({"val/level_mae_jnd": 0.4, "val/mae_jnd": 0.5, "lr": 0.1})
        {'all': {'val mae_jnd': 0.5, 'lr': 0.1}, 'level': {'val mae_jnd': 0.4}}
    """
    groups: Groups = {OVERALL: {}}
    for name, value in metrics.items():
        stage, head, metric = metric_parts(name)
        groups.setdefault(head, {})[f"{stage} {metric}".strip()] = value
    return groups


def main_metrics(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return what a single line has room for: the losses, and what else is known of all heads.

    Of training, that is only the loss where there is a validation.

    Args:
        metrics: Values by logged name.

    Example:
        >>> main_metrics({"train/loss": 0.5, "train/jnd": 0.1, "val/loss": 0.6, "val/jnd": 0.2})
        {'train loss': 0.5, 'val loss': 0.6, 'val jnd': 0.2}
    """
    overall = group_metrics(metrics)[OVERALL]
    stages = [stage for stage in _STAGES if f"{stage} loss" in overall]
    return {
        f"{stage} {kind}": overall[f"{stage} {kind}"]
        for stage in stages
        for kind in (_MAIN if stage == stages[-1] else _MAIN[:1])
        if f"{stage} {kind}" in overall
    }


def format_groups(groups: Groups, value_format: str = ".4g", max_heads: int = 8) -> dict[str, str]:
    """Write one line of text for each group of :func:`group_metrics`, training first.

    At most so many heads have a line; a last line counts the others.

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

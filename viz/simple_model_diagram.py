"""Models' layers, shapes, parameters and work as text: ``--config NAME [NAME ...]``."""

import argparse
import sys
from collections.abc import Sequence

import rootutils

rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)

from src.utils.errors import ConfigError  # noqa: E402
from src.utils.terminal import take_any_text  # noqa: E402
from viz.networks import build_configured, model_names  # noqa: E402
from viz.trace import Step, Trace, trace  # noqa: E402

DEFAULT = "avix_cnn_64k"
COLUMNS = ("layer", "", "output", "parameters", "MACs")


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line.

    Args:
        arguments: Its words; None: those of this process.
    """
    take_any_text()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--config", "-c", nargs="+", default=[DEFAULT], help=f"model configs ({DEFAULT})"
    )
    parser.add_argument("--data", help="a data config; by default the one the model is sized on")
    parser.add_argument("--list-configs", action="store_true", help="name the model configs")
    given = parser.parse_args(arguments)
    if given.list_configs:
        print("\n".join(model_names()))
        return
    for number, name in enumerate(given.config):
        try:
            configured = build_configured(name, given.data)
        except ConfigError as error:
            sys.exit(f"error: {error}")
        kind = type(configured.network).__name__
        print("\n" * (number > 0) + f"{name}: {kind} on data={configured.data}")
        print(table(trace(configured.network)))


def table(traced: Trace) -> str:
    """The steps as lines: what, sizes, the shape of the result, weights, multiply-accumulates.

    Args:
        traced: The network.
    """
    rows = [COLUMNS, ("image", "", shape_text(traced.image_shape), "", "")]
    if traced.auxiliary_size:
        rows.append(("auxiliary", "", str(traced.auxiliary_size), "", ""))
    for index, step in enumerate(traced.steps):
        rows.append(
            (
                step.path or "(network)",
                _what(traced, index, step),
                shape_text(step.shape),
                f"{step.parameters:,}" if step.parameters else "",
                f"{step.macs:,}" if step.macs else "",
            )
        )
    rows.append(("total", "", "", f"{traced.parameters:,}", f"{traced.macs:,}"))
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    lines = [
        "  ".join(
            cell.rjust(width) if column > 2 else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    rule = "-" * max(map(len, lines))
    return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])


def shape_text(shape: Sequence[int]) -> str:
    """A shape as people write it.

    Example:
        >>> shape_text((16, 8, 8))
        '16×8×8'
    """
    return "×".join(map(str, shape))


def _what(traced: Trace, index: int, step: Step) -> str:
    words = f"{step.kind} {step.detail}".rstrip()
    # Where it does not work on the line above, or not on that alone: on what.
    others = [i for i in step.inputs if i != index - 1]
    if (step.is_layer and not others) or not step.inputs:
        return words
    names = {-1: "image", -2: "auxiliary"}
    return f"{words} of " + ", ".join(
        names.get(i) or _short(traced.steps[i]) for i in sorted(step.inputs)
    )


def _short(step: Step) -> str:
    return step.path if step.is_layer else f"{step.kind} in {step.path or 'network'}"


if __name__ == "__main__":
    main()

"""Pictures of models as SVG and PNG: ``-c NAME``; every model without a name."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import rootutils

rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)

from src.utils.errors import ConfigError  # noqa: E402
from src.utils.terminal import take_any_text  # noqa: E402
from src.vimh.disk import in_words, is_of_a_folder  # noqa: E402
from viz.layout import arrange  # noqa: E402
from viz.networks import ROOT, build_configured, model_names  # noqa: E402
from viz.render import draw  # noqa: E402
from viz.trace import trace  # noqa: E402


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line.

    Args:
        arguments: Its words; None: those of this process.
    """
    take_any_text()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", "-c", help="a model config; by default all of them")
    parser.add_argument("--data", help="a data config; by default the one the model is sized on")
    parser.add_argument("--list-configs", action="store_true", help="name the model configs")
    parser.add_argument(
        "--output", "-o", type=Path, default=ROOT / "logs" / "diagrams", help="folder of pictures"
    )
    given = parser.parse_args(arguments)
    if given.list_configs:
        print("\n".join(model_names()))
        return
    try:
        for name in [given.config] if given.config else model_names():
            for path in diagram(name, given.data, given.output):
                print(path)
    except ConfigError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        if not is_of_a_folder(error):
            raise
        sys.exit(f"error: {in_words(error)}")


def diagram(name: str, data: str | None, folder: Path) -> list[Path]:
    """Draw the network of a model config.

    Args:
        name: The model config.
        data: The data config; None: the one that the model is sized on.
        folder: Where the pictures go, named after the config.

    Returns:
        The SVG and the PNG.
    """
    configured = build_configured(name, data)
    traced = trace(configured.network)
    title = (
        f"{name}: {type(configured.network).__name__} on data={configured.data}, "
        f"{traced.parameters:,} parameters, {traced.macs:,} multiply-accumulates an image"
    )
    return draw(arrange(traced), title, folder / name)


if __name__ == "__main__":
    main()

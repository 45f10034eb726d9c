#!/usr/bin/env python
"""Synthesise a VIMH data set.

usage: python generate_vimh.py [flags] [key=value …]

The recipe is a Hydra config, configs/generate_simple.yaml unless --config-name says otherwise
(generate_simple_wide, generate_simple_3p, generate_simple_noisy, …); its keys are explained in
configs/recipe/simple.yaml and docs/avix_dataset.md.

Flags; each is another spelling of a config key:
  --avix                avix=true                the complete grid: every combination of the
                                                 parameters' steps once (otherwise dataset.size
                                                 random samples)
  --pickle, -p          output_format=both       the same samples as a pickle as well
  --shuffle, -s         shuffle=true             shuffle all samples before the split into 80 %
                                                 train and 20 % test
  --temporal-envelope   temporal_envelope=true   a channel with the mean over frequency
  --spectral-envelope   spectral_envelope=true   a channel with the mean over time
  --normalize           normalize=true           divide both envelopes out of the base channel;
                                                 needs one of the two flags above
  --bytes-only          generate.bytes_only=true version 2.1: every value to a byte of its range;
                                                 otherwise 2.2, which has exact values as well
  --config-name NAME    (-cn)                    another config in configs/
  --config-dir DIR      (-cd)                    a folder of your own to look for configs in too
  --cfg job             (-c)                     show the composed config and stop
  --check-config                                 check the recipe and start nothing
  --list-parameters                              show what the synthesiser can set and stop: name,
                                                 range, default, unit, classes, step
  --multirun            (-m)                     one data set for each combination of a=1,2
  --help, -h                                     this text

Keys that are often set: dataset.size=16384, seed=42, generate.output_dir=data-vimh,
generate.chunk_size=4096, generate.scale=sample|dataset, generate.wav=5 (also writes the sounds of
the first 5 records as 32-bit float WAV), stft=pitch_512 (presets in configs/stft), overwrite=true.
For any sample rate and duration: front_end=mel_128 sample_rate=44100 duration=2 (presets in
configs/front_end).

A large data set in parts, in any order, by several processes or machines with one file system:
generate.part=1/16 to 16/16 make one each, generate.part=join then makes the data set of them.

Example:
  python generate_vimh.py --avix --shuffle --temporal-envelope --spectral-envelope --normalize
"""

import sys
from pathlib import Path

CHECK = "--check-config"
LIST = "--list-parameters"
FLAGS = {
    "--avix": "avix=true",
    "--pickle": "output_format=both",
    "-p": "output_format=both",
    "--shuffle": "shuffle=true",
    "-s": "shuffle=true",
    "--temporal-envelope": "temporal_envelope=true",
    "--spectral-envelope": "spectral_envelope=true",
    "--normalize": "normalize=true",
    "--bytes-only": "generate.bytes_only=true",
}
HELP = ("--help", "-h")
# Hydra's own, spelled out: it would also take every unambiguous beginning of them.
HYDRA_SWITCHES = ("--multirun", "-m", "--resolve")
HYDRA_OPTIONS = ("--config-name", "-cn", "--config-dir", "-cd", "--cfg", "-c")

ROOT = Path(__file__).resolve().parent
EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130
ADVICE = " (--help explains, --cfg job shows all keys)"


class UsageError(Exception):
    """The command line says something that does not exist."""


def translate(arguments: list[str]) -> list[str]:
    """Flags into overrides, before Hydra, which has a -p of its own, sees them.

    Example:
        >>> translate(["--avix", "-p", "dataset.name=mine"])
        ['avix=true', 'output_format=both', 'dataset.name=mine']
    """
    options: list[str] = []
    overrides: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        name, given, value = argument.partition("=")
        if argument in FLAGS:
            overrides.append(FLAGS[argument])
        elif argument in (CHECK, LIST):
            continue
        elif argument in HYDRA_SWITCHES:
            options.append(argument)
        elif name in HYDRA_OPTIONS:
            value = value if given else next(rest, "")
            if not value:
                raise UsageError(f"{name} needs a value")
            options += [name, value]
        elif argument.startswith("~") or (given and not argument.startswith("-")):
            overrides.append(argument)
        else:
            raise UsageError(f"unknown argument {argument!r}")
    return options + overrides  # argparse, in Hydra, takes no options between overrides


def stop(code: int, message: str) -> None:
    """End with one sentence."""
    print(f"generate_vimh.py: {message}", file=sys.stderr)
    sys.exit(code)


def run(overrides: list[str], only: str = "") -> None:
    """Compose the config and make the data set, or `only` check the config or list parameters."""
    import hydra
    from omegaconf import DictConfig
    from omegaconf.errors import OmegaConfBaseException

    from src.cli import start
    from src.command_line import choices, user_paths
    from src.synth.engines.listing import print_controls
    from src.synth.errors import RecipeError
    from src.synth.generate import dataset_name
    from src.synth.parts import generate
    from src.utils.errors import ConfigError
    from src.utils.foreign_errors import refusal
    from src.utils.terminal import take_any_text
    from src.vimh.disk import in_words
    from src.vimh.errors import VIMHError

    take_any_text()

    @hydra.main(
        version_base="1.3", config_path=str(ROOT / "configs"), config_name="generate_simple"
    )
    def task(config: DictConfig) -> None:
        try:
            if only == CHECK:
                name = dataset_name(config)
                print(f"The recipe is valid; it makes {name}. Nothing was started.")
            elif only == LIST:
                print_controls(config)
            else:
                print(generate(config, root=ROOT))
        except (RecipeError, ConfigError) as error:
            stop(EXIT_USAGE, str(error))
        except (VIMHError, OSError) as error:
            stop(EXIT_FAILED, in_words(error))
        except OmegaConfBaseException as error:  # here: Hydra would print a line of its own first
            stop(EXIT_USAGE, f"{refusal(error, sys.argv[1:])}")

    try:
        sys.argv[1:] = choices(user_paths(overrides))
    except ConfigError as error:
        stop(EXIT_USAGE, f"{error}{ADVICE}")
    start(task, name="generate_vimh.py", usage_code=EXIT_USAGE, advice=ADVICE)


def main() -> None:
    """The command line."""
    arguments = sys.argv[1:]
    if any(argument in HELP for argument in arguments):
        print(__doc__.strip())
        return
    try:
        run(translate(arguments), next((flag for flag in (LIST, CHECK) if flag in arguments), ""))
    except UsageError as error:
        stop(EXIT_USAGE, f"{error}; --help lists the flags, everything else is key=value")
    except KeyboardInterrupt:
        stop(
            EXIT_INTERRUPTED,
            "interrupted; no partial data set is left, and no existing one was changed",
        )


if __name__ == "__main__":
    main()

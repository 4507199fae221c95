"""How an experiment is started: a preset by name, any field changed on the command line, errors without a trace."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import tyro

Config = TypeVar("Config")


def preset(presets: Mapping[str, Config], name: str) -> Config:
    """The configuration of that name.

    Raises:
        ValueError: no such preset.
    """
    if name not in presets:
        raise ValueError(f"preset: {name!r}; expected one of {', '.join(presets)}")
    return presets[name]


def command_line(presets: Mapping[str, Config], run: Callable[[Config], Path], description: str | None) -> None:
    """Read `PRESET [--field value ...]` (the first preset when nothing is given), run, and print where the result is.

    A wrong value ends with one line and exit code 2; an interruption with one line and 130: the next run of the same
    command goes on where this one stopped.
    """
    arguments = sys.argv[1:] or [next(iter(presets))]
    try:
        if not arguments[0].startswith("-"):
            preset(presets, arguments[0])
        choices = {name: (f"the {name} preset", config) for name, config in presets.items()}
        config = tyro.extras.overridable_config_cli(choices, args=arguments, description=description)
        print(run(config))
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted: run the same command again to go on from the last checkpoint", file=sys.stderr)
        sys.exit(130)

"""The command line: a file per command. Every flag is a field of a frozen dataclass.

Only the module of the command that is run is imported, and it imports PyTorch only when it runs, so
that `--help` answers at once.
"""

import importlib
import sys
from collections.abc import Callable, Sequence

from gcnlab.arguments import nearest

COMMANDS = {
    "train": ("Train", "Train a network and score it on the validation split."),
    "schedule": ("RunSchedule", "Run one of the paper's schedules of several stages."),
    "pretrain": ("Pretrain", "Train a backbone as a classifier."),
    "evaluate": ("Evaluate", "Score trained networks."),
    "predict": ("Predict", "Segment images."),
    "crf": ("Crf", "Search the settings of a dense CRF."),
    "submit": ("Submit", "Pack predictions for a benchmark server."),
    "vrf": ("Vrf", "Compute valid receptive fields."),
    "data": ("Data", "Check or download a data set, or make a miniature of it."),
    "table": ("ShowTable", "Show a table of the paper beside ours."),
    "export": ("Export", "Export trained networks."),
    "bench": ("Bench", "Measure speed."),
}
"""Each command, which is also the name of its module: its class and its summary."""


def main() -> None:
    """Run the command line: the entry point of `gcnlab`."""
    from gcnlab.cli.errors import exit_on_errors

    with exit_on_errors():
        command = parse(sys.argv[1:])
        command()


def parse(arguments: Sequence[str]) -> Callable[[], None]:
    """Return the command with its settings; calling it runs it.

    Args:
        arguments: as in the shell, without the program: ["train", "shapes", "--out", "runs/a"].

    Raises:
        SystemExit: after printing help or an error.
        ValueError: there is no such command.
    """
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_help())
        sys.exit(0 if arguments else 2)
    if arguments[0] == "--version":
        from gcnlab import __version__

        print(f"gcnlab {__version__}")
        sys.exit(0)
    name, *rest = arguments
    if name not in COMMANDS:
        known = nearest(name, COMMANDS) or f"; the commands are {', '.join(COMMANDS)}"
        raise ValueError(f"unknown command {name!r}{known}")

    import tyro

    kind, _ = COMMANDS[name]
    command = getattr(importlib.import_module(f"gcnlab.cli.{name}"), kind)
    return tyro.cli(
        command,
        prog=f"gcnlab {name}",
        args=rest,
        config=(tyro.conf.CascadeSubcommandArgs,),
    )


def _help() -> str:
    width = max(map(len, COMMANDS))
    return "\n".join(
        [
            "usage: gcnlab COMMAND [OPTIONS]",
            "",
            "Global Convolutional Networks for semantic segmentation, and their receptive fields.",
            "",
            *(f"  {name:{width}}  {summary}" for name, (_, summary) in COMMANDS.items()),
            "",
            "gcnlab COMMAND --help explains the options of a command.",
        ]
    )

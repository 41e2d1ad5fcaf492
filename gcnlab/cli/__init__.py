"""The command line: a file per command. Every setting is a field of a frozen dataclass."""

import sys
from typing import Annotated

import tyro

from gcnlab.cli.bench import Bench
from gcnlab.cli.evaluate import Evaluate
from gcnlab.cli.predict import Predict
from gcnlab.cli.ship import Ship
from gcnlab.cli.train import Train
from gcnlab.cli.vrf import Vrf
from gcnlab.training import TrainingDiverged


def main() -> None:
    """Entry point of `gcnlab`."""
    chosen = tyro.cli(
        Annotated[Train, tyro.conf.subcommand("train")]
        | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
        | Annotated[Predict, tyro.conf.subcommand("predict")]
        | Annotated[Vrf, tyro.conf.subcommand("vrf")]
        | Annotated[Ship, tyro.conf.subcommand("ship")]
        | Annotated[Bench, tyro.conf.subcommand("bench")],
        prog="gcnlab",
        description="Global Convolutional Networks for segmentation, and what they see.",
        config=(tyro.conf.CascadeSubcommandArgs,),
    )
    try:
        chosen()
    except (ValueError, OSError, TrainingDiverged) as error:
        print(f"gcnlab: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("\ngcnlab: stopped; the last checkpoint stays", file=sys.stderr)
        sys.exit(130)

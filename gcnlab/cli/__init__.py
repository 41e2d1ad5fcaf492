"""The command line: a file per command. Every setting is a field of a frozen dataclass."""

from typing import Annotated

import tyro

from gcnlab.cli.bench import Bench
from gcnlab.cli.crf import Crf
from gcnlab.cli.data import Data
from gcnlab.cli.errors import errors_in_words
from gcnlab.cli.evaluate import Evaluate
from gcnlab.cli.predict import Predict
from gcnlab.cli.pretrain import Pretrain
from gcnlab.cli.schedule import RunSchedule
from gcnlab.cli.ship import Ship
from gcnlab.cli.submit import Submit
from gcnlab.cli.table import ShowTable
from gcnlab.cli.train import Train
from gcnlab.cli.vrf import Vrf


def main() -> None:
    """Entry point of `gcnlab`."""
    chosen = tyro.cli(
        Annotated[Train, tyro.conf.subcommand("train")]
        | Annotated[RunSchedule, tyro.conf.subcommand("schedule")]
        | Annotated[Pretrain, tyro.conf.subcommand("pretrain")]
        | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
        | Annotated[Predict, tyro.conf.subcommand("predict")]
        | Annotated[Crf, tyro.conf.subcommand("crf")]
        | Annotated[Submit, tyro.conf.subcommand("submit")]
        | Annotated[Vrf, tyro.conf.subcommand("vrf")]
        | Annotated[Data, tyro.conf.subcommand("data")]
        | Annotated[ShowTable, tyro.conf.subcommand("table")]
        | Annotated[Ship, tyro.conf.subcommand("ship")]
        | Annotated[Bench, tyro.conf.subcommand("bench")],
        prog="gcnlab",
        description="Global Convolutional Networks for segmentation, and what they see.",
        config=(tyro.conf.CascadeSubcommandArgs,),
    )
    with errors_in_words():
        chosen()

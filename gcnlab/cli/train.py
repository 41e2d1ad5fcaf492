"""gcnlab train."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from gcnlab.cli.results import describe, print_scores, result, write_run
from gcnlab.evaluation import Inference, evaluate
from gcnlab.evaluation.processes import joined_processes, process
from gcnlab.training import PRESETS, Execution, TrainedRun, train

_Run = tyro.extras.subcommand_type_from_defaults(
    {name: config for name, (_, config) in PRESETS.items()},
    {name: text for name, (text, _) in PRESETS.items()},
    prefix_names=False,
)


@dataclass(frozen=True)
class Train:
    """Train a network and score it on the validation split.

    Start from a preset (shapes, quick, camvid, paper) and change any setting behind it:

        gcnlab train shapes --out runs/gcn7 --model.head gcn --model.kernel-size 7
        gcnlab train shapes --out runs/base --model.head conv1x1 --model.no-refine
        gcnlab train quick --out runs/quick --model.no-refine

        gcnlab train paper --out runs/paper8 --training.batch-size 8 --training.momentum 0.9 \\
            --execution.processes 8 --execution.restarts 3
        torchrun --nnodes 2 --nproc-per-node 8 --rdzv-backend c10d --rdzv-endpoint HOST:29400 --no-python \\
            gcnlab train paper --out /shared/paper16 --training.batch-size 16 --training.momentum 0.9

    Several processes share the images of each step; --training.batch-size counts them all, and has to be
    one a process at least. On several machines the folder has to be one that all of them see; torchrun
    --max-restarts 3, with TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 in the environment, goes on after a process
    has died.

    The folder gets checkpoint.pt (resumed from when the same command is given again), and at the end
    result.json (scores, settings, provenance), log.csv and loss.png.
    """

    config: Annotated[_Run, tyro.conf.arg(name="")]
    """Preset to start from."""
    out: Path
    """Folder of the run."""
    resume: bool = True
    """Go on from the folder's checkpoint; with --no-resume start anew and replace it."""
    device: str | None = None
    """cpu, cuda, …; the GPU if there is one."""
    workers: int = 0
    """Processes that load images; 0 loads in the main process."""
    execution: Execution = field(default_factory=Execution)
    """How the run is executed; the weights are the same but for rounding."""

    def __call__(self) -> None:
        with joined_processes(self.device) as device:
            run = train(
                self.config,
                self.out,
                self.resume,
                device,
                num_workers=self.workers,
                execution=self.execution,
            )
            finish(run, self.out, self.workers)


def finish(
    run: TrainedRun, out: Path, workers: int = 0, inference: Inference | None = None
) -> None:
    """Score a trained network on the validation split; write what the folder of a run holds, and print. Of
    several processes the first does."""
    validation = run.config.evaluation_set("val")
    scores = evaluate(run.model, validation, num_workers=workers, inference=inference)
    if process()[0] > 0:
        return
    values = result(run, scores, "val")
    if inference is not None:
        values["inference"] = asdict(inference)
    if run.initial is not None:
        values["started_from"] = run.initial
    write_run(run, values, describe(run.config), out)
    print_scores({describe(run.config): scores})

"""gcnlab train."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from gcnlab.training.settings import PRESETS, Execution

_Run = tyro.extras.subcommand_type_from_defaults(
    {name: config for name, (_, config) in PRESETS.items()},
    {name: text for name, (text, _) in PRESETS.items()},
    prefix_names=False,
)


@dataclass(frozen=True)
class Train:
    """Train a network and score it on the validation split.

    Start from a preset (shapes, quick, camvid, photos, photos-tuned, photos-whole, paper) and
    change any setting after it:

        gcnlab train shapes --out runs/gcn7 --model.head gcn --model.kernel-size 7
        gcnlab train shapes --out runs/base --model.head conv1x1 --model.no-refine
        gcnlab train quick --out runs/quick --model.no-refine

    Several GPUs or machines share each batch under torchrun:

        torchrun --nproc-per-node 8 --no-python \\
            gcnlab train paper --out runs/paper8 --training.batch-size 8 --training.momentum 0.9
        torchrun --nnodes 2 --nproc-per-node 8 --rdzv-backend c10d --rdzv-endpoint HOST:29400 \\
            --no-python gcnlab train paper --out /shared/paper16 --training.batch-size 16 \\
            --training.momentum 0.9

    --training.batch-size counts the images of all processes; it has to be at least their number.
    All machines need to see the same folder. With torchrun --max-restarts 3, and
    TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 in the environment, the run resumes automatically if a
    process is lost.

    The folder gets checkpoint.pt (the same command again resumes from it), and at the end
    result.json (scores, settings, provenance), log.csv and loss.png.
    """

    config: Annotated[_Run, tyro.conf.arg(name="")]
    """Preset to start from."""
    out: Path
    """Folder of the run."""
    resume: bool = True
    """Resume from the folder's checkpoint. With --no-resume, train from scratch and replace it."""
    initial: str | None = None
    """Weights of the whole network to start from: the folder of a run of the same network, or the
    name of a network that comes with the package; if omitted, those of the settings."""
    device: str | None = None
    """cpu, cuda, …; the GPU if there is one."""
    workers: int = 0
    """Data-loading workers; 0 loads in the main process."""
    execution: Execution = field(default_factory=Execution)
    """How the run is executed; apart from rounding, the weights do not depend on it."""

    def __call__(self) -> None:
        from gcnlab.cli.results import print_scores
        from gcnlab.distributed import is_primary
        from gcnlab.training import finish, train
        from gcnlab.training.runs import describe

        run = train(
            self.config,
            self.out,
            self.resume,
            self.device,
            num_workers=self.workers,
            initial=self.initial,
            execution=self.execution,
        )
        scores = finish(run, self.out, self.workers)
        if is_primary():
            print_scores({describe(run.config): scores})

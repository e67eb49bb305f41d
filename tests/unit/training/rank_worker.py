"""Two ranks that train together, for `test_ranks.py`.

Run as `python -m tests.unit.training.rank_worker ORDERS.json`, with the repository on the
path.

An order is {"config", "data", "out"}, and perhaps "double" (train in double precision), "until" (a
step), "load" and "save" (state files), "run" (a run folder), "ask" (a rank that gets a Ctrl-C),
"test" (a folder with held-out pictures in a/ and b/: evaluate every second step, and stop after
one without a new best), "poison" (a rank whose weights become NaN), "apart" (rank 1 sees another
folder under the run's name), "unlike" (rank 1 has another learning rate). Rank r writes what its
training consists of, or {"error"}, to OUT.r.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from rich.console import Console

from cyclegan_core.cli.train import _Stop, _StoppedError
from cyclegan_core.config import EvaluationConfig, TrainConfig
from cyclegan_core.device.distributed import rank_and_world_size
from cyclegan_core.errors import CycleGANError
from cyclegan_core.evaluation import Evaluator, TrainingEvaluation
from cyclegan_core.runs.run_folder import RunFolder
from cyclegan_core.training.trainer import StepReport, Trainer

from ..evaluation.samples import Colours
from ..tiny import everything, open_folders
from ..warm import OPERATIONS, is_writing


def exact(trainer: Trainer) -> None:
    """Double precision, and an epsilon beside which rounding noise stays noise."""
    for network in trainer.state.networks.values():
        network.double()
    for optimizer in trainer.state.optimizers.values():
        optimizer.param_groups[0]["eps"] = 1e-2


def double_pictures(trainer: Trainer) -> None:
    step = trainer.train_step
    trainer.train_step = lambda a, b: step(a.double(), b.double())


def do(order: dict[str, Any]) -> dict[str, Any]:
    """One training; what came of it."""
    config = TrainConfig.from_dict(order["config"])
    if order.get("unlike") and rank_and_world_size()[0] == 1:
        config = replace(config, lr=1.0)
    trainer = Trainer(config, open_folders(Path(order["data"]), config.objective))
    if order.get("apart") and trainer.rank == 1:
        order["run"] += " of another machine"
    if order.get("double"):
        exact(trainer)
        double_pictures(trainer)
    if order.get("poison") == trainer.rank:
        next(trainer.model.parameters()).data.fill_(float("nan"))
    wrote: list[str] = []
    try:
        if "run" in order:
            sys.addaudithook(lambda event, args: note_writing(event, args, order["run"], wrote))
            watch = evaluation(order) if "test" in order and trainer.rank == 0 else None
            with RunFolder(order["run"], trainer, evaluation=watch) as folder:
                with suppress(_StoppedError):
                    trainer.run(on_step=lambda report: in_folder(report, folder, order.get("ask")))
                folder.save()
        else:
            if "load" in order:
                trainer.load_state(order["load"])
            with suppress(StopError):
                trainer.run(on_step=lambda report: stop(report, order.get("until")))
            if "save" in order:
                trainer.save_state(order["save"])
    except CycleGANError as error:
        return {"error": str(error)}
    return everything(trainer) | {"history": torch.stack(trainer.history), "wrote": wrote}


def evaluation(order: dict[str, Any]) -> TrainingEvaluation:
    """What rank 0 alone has."""
    test, config = Path(order["test"]), EvaluationConfig(subset_size=4, num_subsets=5)
    evaluator = Evaluator(test / "a", test / "b", config=config, extractor=Colours())
    return TrainingEvaluation(order["run"], evaluator, every=2, patience=1)


class StopError(Exception):
    pass


def in_folder(report: StepReport, folder: RunFolder, rank: int | None) -> None:
    """What the command does after a step; `rank` is sent a Ctrl-C during the third."""
    folder.on_step(report)
    stop = _Stop(folder.trainer, Console(quiet=True))
    if report.step == 3 and folder.trainer.rank == rank:
        stop(signal.SIGINT, None)
    stop.check()


def stop(report: StepReport, until: int | None) -> None:
    if report.step == until:
        raise StopError


def note_writing(event: str, args: tuple[Any, ...], folder: str, wrote: list[str]) -> None:
    if event in OPERATIONS and (event != "open" or is_writing(args)):
        wrote.extend(str(word) for word in args[:2] if str(word).startswith(folder))


def main(orders: Path) -> int:
    """Fork once the imports are done; returns the second rank's exit code."""
    child = os.fork()
    rank = 1 if child == 0 else 0
    torch.set_num_threads(1)
    store = dist.FileStore(str(orders.with_name("store")), 2)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=2)
    for order in json.loads(orders.read_text()):
        torch.save(do(order), f"{order['out']}.{rank}")
    dist.destroy_process_group()
    return 0 if child == 0 else os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

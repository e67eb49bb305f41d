"""What pairs are worth: pix2pix beside an unpaired training of the same processor time.

    python benchmarks/pairs.py DATA --work DIR [--rows pix2pix unpaired] [--seeds 0 1] [--minutes 3]
        [--json FILE]

DATA holds trainA, trainB, testA and testB, whose pictures of one name are partners. Both rows have
the same networks, crops and rates; *pix2pix* and *l1* (the same without a discriminator) learn both
directions from all pairs, *unpaired* is CycleGAN on the first half of A and the second half of B,
which have no partner in common. Every row trains for so many minutes of processor time, of which
its first steps tell how many steps that are; with OMP_NUM_THREADS=1 a minute of processor time is
a minute of the clock on a quiet machine. DIR keeps the run folders, FILE what is done.

Told are PSNR, SSIM and L1 to the true partner on the test pictures, means over the seeds and the
least and the greatest of them, beside the floors: pictures as they are, the mean picture of the
training, and the affine map of colours that fits the training folders best.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from common import add_options, write_json

from cyclegan_core import (
    DataConfig,
    ModelConfig,
    PairedFolders,
    RunFolder,
    TrainConfig,
    Trainer,
    UnpairedFolders,
    load_model,
)
from cyclegan_core.evaluation import EvaluationConfig, Evaluator
from cyclegan_core.evaluation.report import FLOORS, MODEL

ROWS: dict[str, dict[str, Any]] = {
    "pix2pix": {"objective": "pix2pix", "directions": "both"},
    "l1": {"objective": "pix2pix", "directions": "both", "lambda_gan": 0.0},
    "unpaired": {},
}
TRIAL = 6
"""Steps that tell how long one takes; the first two of them do not count."""


def main() -> None:
    """Train what is missing, and print all rows."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=["pix2pix", "unpaired"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--channels", type=int, default=32)
    add_options(parser)
    options = parser.parse_args()
    is_there = options.json and options.json.exists()
    rows = json.loads(options.json.read_text())["rows"] if is_there else {}
    for seed in options.seeds:
        for name in options.rows:
            runs = rows.setdefault(name, {})
            if str(seed) not in runs:
                runs[str(seed)] = train(name, seed, options)
                write_json(options, {"minutes": options.minutes, "rows": rows})
    show(rows)


def train(name: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Train and score one of `ROWS`; the floors come with it."""
    size = options.size
    model = ModelConfig(base_channels=options.channels, num_blocks=6, image_size=size)
    config = TrainConfig(
        model=model,
        disc_channels=options.channels,
        precision="bf16",
        sample_every=200,
        seed=seed,
        **{"lambda_identity": 0.0} | ROWS[name],  # the domains look nothing alike
    )
    data = open_data(name, options, DataConfig(load_size=round(size * 286 / 256), crop_size=size))
    trial = Trainer(replace(config, max_steps=TRIAL), data, device=options.device)
    times: list[float] = []
    trial.run(on_step=lambda report: times.append(time.process_time()))
    seconds = (times[-1] - times[1]) / (TRIAL - 2)
    steps = round(60 * options.minutes / seconds)
    print(f"{name}, seed {seed}: {steps} steps of {seconds:.3f} s", flush=True)
    trainer = Trainer(replace(config, max_steps=steps), data, device=options.device)
    started = time.process_time()
    run = options.work / f"{name}_{seed}"
    with RunFolder(run, trainer) as folder:
        trainer.run(on_step=folder.on_step)
        folder.save()
    spent = time.process_time() - started
    folders = (options.data / part for part in ("testA", "testB", "trainA", "trainB"))
    evaluator = Evaluator(*folders, EvaluationConfig(paired=True, size=size), device=options.device)
    found = evaluator.evaluate(
        load_model(run / "model.safetensors"),
        sheet=run.with_suffix(".jpg"),
    )
    scores = {
        each.direction: {
            kind: {metric: round(score.value, 4) for metric, score in each.rows[kind].items()}
            for kind in (MODEL, *FLOORS)
        }
        for each in found.directions
    }
    return {"steps": steps, "processor seconds": round(spent), "scores": scores}


def open_data(
    name: str, options: argparse.Namespace, config: DataConfig
) -> PairedFolders | UnpairedFolders:
    """All pairs, or halves without a partner in common, as links in the working folder."""
    dirs = [options.data / folder for folder in ("trainA", "trainB")]
    if name != "unpaired":
        return PairedFolders(*dirs, config)
    halves: list[Path] = []
    for number, folder in enumerate(dirs):
        files = sorted(folder.iterdir(), key=lambda path: path.stem)
        half = files[: len(files) // 2] if number == 0 else files[len(files) // 2 :]
        halves.append(options.work / f"half_{'ab'[number]}")
        halves[-1].mkdir(parents=True, exist_ok=True)
        for path in half:
            link = halves[-1] / path.name
            if not link.exists():
                link.symlink_to(path.resolve())
    return UnpairedFolders(*halves, config)


def show(rows: dict[str, Any]) -> None:
    """A line per row and direction, and the floors once."""
    metrics = ("PSNR", "SSIM", "L1")
    print(f"{'':26}{'steps':>10}" + "".join(f"{metric:>22}" for metric in metrics))
    told: set[str] = set()
    for name, runs in rows.items():
        found = list(runs.values())
        for direction, scores in found[0]["scores"].items():
            for kind in scores:
                title = f"{direction} {name if kind == MODEL else kind}"
                if title in told:
                    continue
                told.add(title)
                steps = {run["steps"] for run in found} if kind == MODEL else set[int]()
                line = f"{title:26}{', '.join(map(str, sorted(steps))):>10}"
                for metric in metrics:
                    values = [run["scores"][direction][kind][metric] for run in found]
                    line += f"{sum(values) / len(values):8.3f}"
                    line += f" ({min(values):.3f}-{max(values):.3f})".rjust(14)
                print(line)


if __name__ == "__main__":
    main()

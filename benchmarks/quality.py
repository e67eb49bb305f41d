"""Whether what makes training fast changes what comes out: complete small trainings, both ways.

    python benchmarks/quality.py DATA [--steps 600] [--seeds 0 1 2] [--json FILE]

DATA holds trainA, trainB, testA and testB. Each seed trains twice: plainly (float32, every pass
alone, Adam in torch's plain form) and fast (bf16 and all that is on by default). Told are, for
both, mean and range over the seeds of

- every term of the objective, as the mean of the last tenth of the steps,
- the held-out numbers of `small_training.py` (cycle L1 on test pictures, the judge's verdicts).

The last column says whether the two ranges meet.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from statistics import mean

import torch
from common import write_json
from small_training import Case, case_parser, read_case, scores, train, train_judge
from torch import Tensor

from cyclegan_core import Losses

WAYS: dict[str, dict[str, object]] = {
    "plain": {"batch_passes": "off", "fused_adam": False, "channels_last": "off"},
    "fast": {"precision": "bf16"},
}


def main() -> None:
    """Train six times; print a table, and write it if wanted."""
    parser = case_parser(__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.set_defaults(device="cpu", clock="processor", threads=torch.get_num_threads())
    options = parser.parse_args()
    case = read_case(options)
    judge = train_judge(case.data, 0)
    runs: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for seed in options.seeds:
        for way, settings in WAYS.items():
            runs[way].append(numbers_of(case, judge, seed=seed, **settings))
            print(f"{way}, seed {seed}: {runs[way][-1]}", flush=True)
            write_json(options, {"steps": options.steps, "runs": runs})
    show(runs)


def numbers_of(case: Case, judge: torch.nn.Module, **settings: object) -> dict[str, float]:
    """Train once."""
    trainer = case.trainer(**settings)
    started = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        model = train(trainer, Path(folder))
    seconds = time.process_time() - started
    last: Tensor = torch.stack(trainer.history[-max(1, case.steps // 10) :]).mean(0)
    terms = dict(zip(Losses._fields, last.tolist(), strict=True))
    return {**terms, **scores(model, judge, case), "processor seconds": seconds}


def show(runs: dict[str, list[dict[str, float]]]) -> None:
    """Mean and range of every number, both ways."""
    print(f"{'':20}{'plain':>9}{'from':>9}{'to':>9}{'fast':>9}{'from':>9}{'to':>9}{'meet':>7}")
    for name in runs["plain"][0]:
        plain, fast = ([run[name] for run in runs[way]] for way in WAYS)
        meet = min(plain) <= max(fast) and min(fast) <= max(plain)
        figures = (mean(plain), min(plain), max(plain), mean(fast), min(fast), max(fast))
        print(f"{name:20}" + "".join(f"{each:9.4f}" for each in figures) + f"{meet!s:>7}")


if __name__ == "__main__":
    main()

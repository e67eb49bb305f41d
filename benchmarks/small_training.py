"""A complete small training, judged on pictures it never saw.

    python benchmarks/small_training.py DATA [--steps 1500] [--run DIR] [--json FILE]

DATA holds trainA, trainB, testA and testB (the grumpycat64 set takes some minutes on 2 cores).
Before and after the training it prints, on the test pictures:

- cycle L1: mean |rec − real| of both ways, in [0,1];
- judged as B: the share of patches of translated A that a held-out judge takes for domain B, and
  the other way round. The judge is a discriminator that never meets the training: it learned to
  tell the *real* training pictures of the two domains apart.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from cyclegan_core import (
    CycleGAN,
    DataConfig,
    ModelConfig,
    RunFolder,
    StepReport,
    TrainConfig,
    Trainer,
    UnpairedFolders,
)
from cyclegan_core.data.loader import Batches
from cyclegan_core.networks import PatchDiscriminator, init_weights

JUDGE_STEPS = 150
JUDGE_BATCH = 16


@dataclass(frozen=True, slots=True)
class Case:
    """What is trained, and the pictures that it is judged on."""

    data: UnpairedFolders
    test_a: Tensor
    test_b: Tensor
    model: ModelConfig
    steps: int

    def trainer(self, **settings: object) -> Trainer:
        """A fresh one; `settings` are those of `TrainConfig`."""
        config = TrainConfig(
            model=self.model,
            max_steps=self.steps,
            disc_channels=32,
            sample_every=self.steps,
            save_every=self.steps,
            ema_decay=0.99,
            **cast(dict[str, Any], settings),
        )
        return Trainer(config, self.data)


def main() -> None:
    """Train, judge before and after, print a table."""
    parser = case_parser(__doc__)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--run", type=Path, help="keep the run folder here")
    options = parser.parse_args()
    case = read_case(options)
    judge = train_judge(case.data, options.seed)
    right = float((verdicts(judge, case.test_b) + 1 - verdicts(judge, case.test_a)) / 2)
    print(f"the judge is right about {right:.1%} of the patches of real test pictures")

    trainer = case.trainer(precision=options.precision, seed=options.seed)
    before = scores(trainer.export(), judge, case)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        result = train(trainer, options.run or Path(folder))
    seconds = time.monotonic() - started
    after = scores(result, judge, case)
    print(f"{options.steps} steps in {seconds:.0f} s\n{'':24}{'before':>9}{'after':>9}")
    for name, value in before.items():
        print(f"{name:24}{value:9.4f}{after[name]:9.4f}")
    if options.json:
        numbers = {"steps": options.steps, "seconds": round(seconds), "judge": right}
        numbers |= {"before": before, "after": after}
        options.json.write_text(json.dumps(numbers, indent=2) + "\n", encoding="utf-8")


def case_parser(doc: str | None) -> argparse.ArgumentParser:
    """The options that say what is trained."""
    parser = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--size", type=int, default=64, help="side of the pictures in pixels")
    parser.add_argument("--channels", type=int, default=24, help="base channels")
    parser.add_argument("--blocks", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the numbers here too")
    return parser


def read_case(options: argparse.Namespace) -> Case:
    """The pictures and the networks that the options name."""
    size = DataConfig(load_size=options.size + options.size // 8, crop_size=options.size)
    data = UnpairedFolders(options.data / "trainA", options.data / "trainB", size)
    whole = DataConfig(load_size=options.size, crop_size=options.size, flip=False)
    test = UnpairedFolders(options.data / "testA", options.data / "testB", whole)
    model = ModelConfig(
        base_channels=options.channels,
        num_blocks=options.blocks,
        upsample="resize",
        image_size=options.size,
    )
    return Case(data, *test_pictures(test), model, options.steps)


def train(trainer: Trainer, path: Path) -> CycleGAN:
    """Train to the end in a run folder, with a line now and then."""
    with RunFolder(path, trainer) as folder:

        def on_step(report: StepReport) -> None:
            folder.on_step(report)
            if report.step % 100 == 0:
                cycle = float(report.losses.cycle_a + report.losses.cycle_b)
                print(f"step {report.step}: cycle {cycle:.2f}", flush=True)

        model = trainer.run(on_step=on_step)
        folder.save()
    return model


def test_pictures(data: UnpairedFolders) -> tuple[Tensor, Tensor]:
    """Every test picture once, whole, (N,3,H,W) in [0,1]."""
    samples = [data.sample(number) for number in range(len(data))]
    unique_a = {sample.path_a: sample.a for sample in samples}
    unique_b = {sample.path_b: sample.b for sample in samples}
    return torch.stack(list(unique_a.values())), torch.stack(list(unique_b.values()))


def train_judge(data: UnpairedFolders, seed: int) -> PatchDiscriminator:
    """A discriminator that learned to tell real A (0) from real B (1)."""
    torch.manual_seed(seed + 1)
    judge = PatchDiscriminator(base_channels=32)
    init_weights(judge)
    optimizer = torch.optim.Adam(judge.parameters(), lr=2e-4)
    with Batches(data, batch_size=JUDGE_BATCH, seed=seed + 1) as batches:
        for _, batch in zip(range(JUDGE_STEPS), batches, strict=False):
            logits = judge(torch.cat([batch.real_a, batch.real_b]) * 2 - 1)
            target = torch.zeros_like(logits)
            target[JUDGE_BATCH:] = 1
            optimizer.zero_grad()
            binary_cross_entropy_with_logits(logits, target).backward()
            optimizer.step()
    return judge.eval()


@torch.no_grad()
def verdicts(judge: PatchDiscriminator, images: Tensor) -> Tensor:
    """Share of patches that the judge takes for domain B."""
    return (judge(images * 2 - 1) > 0).float().mean()


def scores(model: CycleGAN, judge: PatchDiscriminator, case: Case) -> dict[str, float]:
    """The numbers of the table."""
    there = model.reconstruct(case.test_a, "a_to_b")
    back = model.reconstruct(case.test_b, "b_to_a")
    return {
        "cycle L1": float(there.error.mean() + back.error.mean()) / 2,
        "A→B judged as B": float(verdicts(judge, there.fake)),
        "B→A judged as A": 1 - float(verdicts(judge, back.fake)),
    }


if __name__ == "__main__":
    main()

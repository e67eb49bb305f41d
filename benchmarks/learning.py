"""What a training has learned after some minutes of processor time: sets of pictures × recipes.

    python benchmarks/learning.py DATA [--sets monet season horse pen facades]
        [--recipes quick paper] [--seeds 0 1 2] [--minutes 2 5 10 20 60] [--work DIR] [--json FILE]
        [--device cuda] [--train-only] [--table] [--sheet FILE --photos PHOTO…]

With OMP_NUM_THREADS=1 a minute of processor time is a minute of the clock on a quiet machine. With
--device cuda minutes are of the clock; scores are computed on the CPU in any case, and --train-only
leaves them for another call, perhaps on another machine that has the folder DIR.

DATA holds monet2photo, monet2photo_more, summer2winter, horse2zebra and facades, each with trainA,
trainB, testA and perhaps testB. Every training goes on by itself until the last of the minutes and
leaves a model at each of them; the scores of a set, a recipe and a seed are one row of FILE. Rows
and minutes that are there stay as they are, and a training that was cut off goes on from its folder
in DIR: so the table grows over days. --table only prints what FILE holds.

- Sets: *monet* (photo → Monet, the Monets of both sources), *season* (summer → winter), *horse*
  (horse → zebra), *pen* (photo → pen and wash: the other half of the photographs, drawn by a
  program, `pen_and_wash` below), *facades* (photo → label map, 001-200 against 201-400, scored
  against true partners).
- Recipes: *quick* is the preset in bf16, *quick_whole* with the preset's own number of steps,
  *quick_hour* with three times as many as quick, *quick_bold* with half the weight of cycles, a
  fifth of the identity's and twice the discriminators', *quick_r1* with the R1 penalty in every
  fourth step, *quick_bilinear* with bilinear upsampling.
  *paper* is the original's: resnet of 9 blocks and 64 channels, instance norm, transposed
  convolutions, 70-pixel PatchGAN, lsgan, Adam 2e-4, batch 1, crops of 256 of 286, identity 0.5, its
  first 100 epochs at a constant rate; *paper128* the same at 128 of 143 pixels with 6 blocks, as
  the paper has it for such pictures. All in bf16, which only helps the paper's: fp32 takes twice
  the time a step.
- Scores: KID (EfficientNet-Lite2), which no recipe was trained with, to the held-out pictures of
  the target at 256 pixels, and the mean fine detail; facades: PSNR and L1 to the partner. Beside
  them the floors: pictures as they are, and the affine colour match.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import is_gpu, write_json
from contact_sheet import scikit_image_photographs, square
from PIL import Image, ImageFilter
from torchvision.transforms.functional import to_pil_image, to_tensor

from cyclegan_core import (
    CycleGAN,
    DataConfig,
    ModelConfig,
    RunFolder,
    StepReport,
    TrainConfig,
    Trainer,
    UnpairedFolders,
    load_model,
    read_picture,
    save_model,
)
from cyclegan_core.evaluation import EvaluationConfig, Evaluator
from cyclegan_core.evaluation.report import COLOUR, IDENTITY, MODEL
from cyclegan_core.evaluation.sheet import Sheet
from cyclegan_core.training import PRESETS

EXTRACTOR = "lite2"
QUICK_STEPS = 1800
"""About 15 minutes of one thread: the rates of the preset fall towards the end of its steps."""
HOUR_STEPS = 3 * QUICK_STEPS


@dataclass(frozen=True, slots=True)
class Pictures:
    """One pair of domains, as folders."""

    names: tuple[str, str]
    train_a: Path
    train_b: Path
    test_a: Path
    test_b: Path
    paired: bool = False

    def evaluator(self) -> Evaluator:
        """It keeps the floors from one model to the next."""
        config = EvaluationConfig(
            paired=self.paired, extractor=EXTRACTOR, size=256, subset_size=50, num_subsets=100
        )
        return Evaluator(self.test_a, self.test_b, self.train_a, self.train_b, config)


# --- recipes -----------------------------------------------------------------------------------


def recipe(name: str, pictures: Pictures, seed: int) -> tuple[TrainConfig, DataConfig]:
    """The settings of one training."""
    domain_a, domain_b = pictures.names
    if name.startswith("quick"):
        preset = PRESETS["quick"]
        model: dict[str, Any] = {**preset.model}
        if name == "quick_bilinear":
            model["upsample"] = "bilinear"
        steps = {"quick_hour": HOUR_STEPS, "quick_whole": preset.max_steps}.get(name, QUICK_STEPS)
        train: dict[str, Any] = {**preset.train, "max_steps": steps}
        if name == "quick_bold":
            train |= {"lambda_a": 5.0, "lambda_b": 5.0, "lambda_identity": 0.1, "lambda_gan": 1.0}
        if name == "quick_r1":
            train |= {"lambda_r1": 1.0, "r1_every": 4}
        data = DataConfig(**preset.data)
    else:
        small = name == "paper128"
        model = {"num_blocks": 6 if small else 9}
        train = {"max_steps": 200 * 1000}
        data = DataConfig(load_size=143 if small else 286, crop_size=128 if small else 256)
    config = TrainConfig(
        model=ModelConfig(**model, domain_a=domain_a, domain_b=domain_b, image_size=data.crop_size),
        precision="bf16",
        seed=seed,
        sample_every=10**6,
        save_every=10**6,
        **train,
    )
    return config, data


RECIPES = (
    "quick",
    "quick_whole",
    "quick_hour",
    "quick_bold",
    "quick_r1",
    "quick_bilinear",
    "paper",
    "paper128",
)


# --- sets --------------------------------------------------------------------------------------


def monet(data: Path, work: Path) -> Pictures:
    """The smaller source's 240 Monets four times as often, so that both count alike."""
    first, more = data / "monet2photo", data / "monet2photo_more"
    return Pictures(
        ("photo", "Monet"),
        gathered(work / "trainA", (first / "trainB", 1), (more / "trainB", 1)),
        gathered(work / "trainB", (first / "trainA", 4), (more / "trainA", 1)),
        first / "testB",
        gathered(work / "testB", (first / "testA", 1), (more / "testA", 1)),
    )


def season(data: Path, work: Path) -> Pictures:
    """Summer and winter in Yosemite."""
    del work
    return as_they_lie(("summer", "winter"), data / "summer2winter")


def horse(data: Path, work: Path) -> Pictures:
    """Horses and zebras of ImageNet."""
    del work
    return as_they_lie(("horse", "zebra"), data / "horse2zebra")


def pen(data: Path, work: Path) -> Pictures:
    """Every second photograph as it is, the others drawn; held-out ones likewise."""
    first = data / "monet2photo"
    folders: dict[str, Path] = {}
    for part, source in (("train", first / "trainB"), ("test", first / "testB")):
        paths = sorted(source.glob("*.jpg"))
        for side, chosen in (("A", paths[::2]), ("B", paths[1::2])):
            folder = folders[part + side] = work / (part + side)
            folder.mkdir(parents=True, exist_ok=True)
            for path in chosen:
                target = folder / f"{path.stem}.png"
                if not target.exists():
                    with Image.open(path) as image:
                        picture = image.convert("RGB")
                    (picture if side == "A" else pen_and_wash(picture)).save(target)
    return Pictures(
        ("photo", "pen and wash"),
        folders["trainA"],
        folders["trainB"],
        folders["testA"],
        folders["testB"],
    )


def facades(data: Path, work: Path) -> Pictures:
    """Trained without partners: photographs of one half, label maps of the other."""
    folder = data / "facades"
    paths_a = sorted((folder / "trainA").iterdir())
    paths_b = sorted((folder / "trainB").iterdir())
    return Pictures(
        ("photo", "labels"),
        linked(work / "trainA", paths_a[:200]),
        linked(work / "trainB", paths_b[200:]),
        folder / "testA",
        folder / "testB",
        paired=True,
    )


SETS = {"monet": monet, "season": season, "horse": horse, "pen": pen, "facades": facades}


def as_they_lie(names: tuple[str, str], folder: Path) -> Pictures:
    """The four folders of the original's layout."""
    parts = (folder / part for part in ("trainA", "trainB", "testA", "testB"))
    return Pictures(names, *parts)


def gathered(folder: Path, *sources: tuple[Path, int]) -> Path:
    """A folder of links to all pictures of `sources`, each so many times."""
    for source, times in sources:
        for number in range(times):
            tag = f"{source.parent.name}_{number}_"
            linked(folder, sorted(source.iterdir()), tag)
    return folder


def linked(folder: Path, paths: list[Path], tag: str = "") -> Path:
    """A folder of links to `paths`."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in paths:
        link = folder / (tag + path.name)
        if not link.is_symlink():
            link.symlink_to(path.resolve())
    return folder


def pen_and_wash(picture: Image.Image) -> Image.Image:
    """A photograph as a drawing: dark lines where greys change, flat pale washes between them."""
    smooth = picture.filter(ImageFilter.MedianFilter(5)).filter(ImageFilter.GaussianBlur(1.5))
    colours = np.asarray(smooth, dtype=np.float32) / 255
    grey = colours.mean(axis=2, keepdims=True)
    # The wash: five levels of light, half the contrast, paper shining through, warm.
    light = np.floor(grey * 5) / 4
    wash = 0.45 + 0.55 * (light.clip(0, 1) + colours - grey)
    wash *= np.array([1.0, 0.97, 0.88], dtype=np.float32)
    # The pen: where a narrow blur is darker than a wide one (Winnemöller et al. 2012).
    plain = picture.convert("L")
    narrow, wide = (
        np.asarray(plain.filter(ImageFilter.GaussianBlur(r)), dtype=np.float32) / 255
        for r in (0.8, 1.8)
    )
    ink = 1 - ((narrow - wide + 0.06) * 20).clip(0, 1)
    drawn = wash * (1 - 0.85 * ink[..., None])
    return Image.fromarray((drawn.clip(0, 1) * 255).round().astype(np.uint8))


# --- training and scoring ----------------------------------------------------------------------


class Clock:
    """Seconds of a training over all its sessions; on a CPU those of the training alone."""

    def __init__(self, path: Path, device: str) -> None:
        self._path = path
        self._before = json.loads(path.read_text())["seconds"] if path.exists() else 0.0
        self._now = time.process_time if device == "cpu" else time.monotonic
        self._since = self._now()

    @property
    def seconds(self) -> float:
        """Spent so far."""
        return self._before + self._now() - self._since

    def save(self, step: int) -> None:
        """Together with the training's state."""
        self._path.write_text(json.dumps({"seconds": self.seconds, "step": step}) + "\n")


def train(
    pictures: Pictures, name: str, seed: int, minutes: list[float], run: Path, device: str
) -> None:
    """Train until the last of `minutes`, and leave `minute_N.safetensors` at each."""
    models = {minute: run / f"minute_{minute:g}.safetensors" for minute in minutes}
    if all(path.exists() for path in models.values()):
        return
    config, data = recipe(name, pictures, seed)
    trainer = Trainer(
        config, UnpairedFolders(pictures.train_a, pictures.train_b, data), device=device
    )
    with RunFolder(run, trainer) as folder:
        clock = Clock(run / "clock.json", device)

        def keep(minute: float) -> None:
            folder.save()
            clock.save(trainer.step)
            save_model(trainer.export(), models[minute])
            text = json.dumps({"step": trainer.step, "seconds": round(clock.seconds)})
            models[minute].with_suffix(".json").write_text(text + "\n")
            print(f"{run.name}: step {trainer.step} after {minute:g} minutes", flush=True)

        def on_step(report: StepReport) -> None:
            folder.on_step(report)
            due = [m for m in minutes if not models[m].exists() and clock.seconds >= 60 * m]
            for minute in due:
                keep(minute)
            if all(path.exists() for path in models.values()):
                trainer.stop()

        trainer.run(on_step=on_step)
        # The steps are over before the last of the minutes: their result is what it has then.
        for minute in minutes:
            if not models[minute].exists():
                keep(minute)


def score(evaluator: Evaluator, path: Path) -> dict[str, Any]:
    """The scores of a model and of the floors, as they stand in the table's file."""
    both = load_model(path)
    model = CycleGAN(both.config, directions=["a_to_b"])  # the way back would cost as much again
    model.generator("a_to_b").load_state_dict(both.generator("a_to_b").state_dict())
    found = evaluator.evaluate(model.eval(), dtype=torch.bfloat16)
    rows = found.directions[0].rows
    return {
        name: {metric: [s.value, s.spread] for metric, s in row.items()}
        for name, row in rows.items()
    }


def fill(row: dict[str, Any], options: argparse.Namespace) -> None:
    """Train and score what is missing in a row of the table."""
    kind, name, seed = row["set"], row["recipe"], row["seed"]
    missing = [m for m in sorted(options.minutes) if f"{m:g}" not in row["minutes"]]
    if not missing:
        return
    pictures = SETS[kind](options.data, options.work / "pictures" / kind)
    run = options.work / f"{kind}-{name}-{seed}"
    train(pictures, name, seed, missing, run, options.device)
    if options.train_only:
        return
    evaluator = pictures.evaluator()
    for minute in missing:
        path = run / f"minute_{minute:g}.safetensors"
        rows = score(evaluator, path)
        reached = json.loads(path.with_suffix(".json").read_text())
        row["minutes"][f"{minute:g}"] = {**reached, **rows[MODEL]}
        row["floors"] = {floor: rows[floor] for floor in (IDENTITY, COLOUR)}


def show(rows: list[dict[str, Any]], minutes: list[float]) -> None:
    """The table: KID, or the PSNR to the partner, by minutes; floors last."""
    titles = ("set", "recipe", "seed", *(f"{m:g} min" for m in minutes), "colour match", "as it is")
    print("| " + " | ".join(titles) + " |\n" + "|---" * len(titles) + "|")
    for row in rows:
        found = [row["minutes"].get(f"{m:g}") for m in minutes]
        floors = [row["floors"].get(name) for name in (COLOUR, IDENTITY)]
        cells = [_cell(scores) for scores in (*found, *floors)]
        print("| " + " | ".join((row["set"], row["recipe"], str(row["seed"]), *cells)) + " |")


def _cell(scores: dict[str, Any] | None) -> str:
    if scores is None:
        return "–"
    for metric, score in scores.items():
        if metric.startswith("KID"):
            return f"{score[0]:.3f} ± {score[1]:.3f}"
    return f"{scores['PSNR'][0]:.2f} dB"


def draw(options: argparse.Namespace) -> None:
    """What the first set, recipe and seed have made of photographs after each of the minutes."""
    run = options.work / f"{options.sets[0]}-{options.recipes[0]}-{options.seeds[0]}"
    models = {f"{m:g} min": run / f"minute_{m:g}.safetensors" for m in sorted(options.minutes)}
    models |= {title: Path(path) for title, _, path in (a.partition("=") for a in options.also)}
    loaded = {title: load_model(path) for title, path in models.items()}
    sheet = Sheet(options.cell)
    for path in options.photos:
        photo = square(read_picture(path).pixels.expand(3, -1, -1)[None], 256)
        cells = {"photo": photo}
        for title, model in loaded.items():
            cells[title] = model.translate(photo[None], dtype=torch.bfloat16)[0]
        if options.sets[0] == "pen":  # the one style whose aim is known
            aim = pen_and_wash(to_pil_image(photo))
            cells["the program itself"] = to_tensor(aim)
        sheet.add(run.name, cells)
    sheet.write(options.sheet)


def main() -> None:
    """Fill the table row by row; each is written when it is done."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=["quick", "paper128"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--minutes", nargs="+", type=float, default=[2, 5, 10, 20, 60])
    parser.add_argument("--work", type=Path, default=Path("runs/learning"))
    parser.add_argument("--json", type=Path, default=Path(__file__).parent / "learning.json")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--train-only", action="store_true", help="leave the scores for later")
    parser.add_argument("--table", action="store_true", help="print what there is, train nothing")
    parser.add_argument("--sheet", type=Path, help="draw --photos after each of the minutes")
    parser.add_argument("--photos", type=Path, nargs="+", default=scikit_image_photographs())
    parser.add_argument("--also", nargs="+", default=[], metavar="TITLE=MODEL", help="more columns")
    parser.add_argument("--cell", type=int, default=240, help="pixels per picture on the sheet")
    options = parser.parse_args()
    options.clock = "wall" if is_gpu(options) else "processor"
    options.threads = torch.get_num_threads()
    rows: list[dict[str, Any]] = []
    if options.json.exists():
        rows = json.loads(options.json.read_text(encoding="utf-8"))["rows"]
    wanted = () if options.table else product(options.seeds, options.sets, options.recipes)
    for seed, kind, name in wanted:
        key = {"set": kind, "recipe": name, "seed": seed}
        row = next((r for r in rows if all(r[k] == v for k, v in key.items())), None)
        if row is None:
            row = {**key, "minutes": {}, "floors": {}}
            rows.append(row)
        fill(row, options)
        write_json(options, {"rows": rows})
    show(rows, sorted(options.minutes))
    if options.sheet:
        draw(options)


if __name__ == "__main__":
    main()

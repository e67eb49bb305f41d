"""Score a model on held-out folders, and everything it has to beat with the same code."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..config import DIRECTIONS, Direction, EvaluationConfig, opposite
from ..errors import CycleGANError, DatasetError
from ..model import CycleGAN
from ..pictures.captions import drawable_domains
from ..progress import OnProgress
from .colour import AffineColour, ColourMoments, ColourPairs, match_moments
from .distances import (
    LEAST_SIDE,
    fine_detail,
    frechet_distance,
    kernel_distance,
    pair_scores,
    perceptual_distance,
    psnr,
)
from .extractors import Extractor, LiteExtractor, new_extractor
from .folders import Folders, MeanPicture, Picture, PictureReader, as_written, spread
from .report import COLOUR, IDENTITY, MEAN, MODEL, REAL, DirectionReport, Evaluation, Row, Score
from .segmentation import ConfusionCounts, Segmentation
from .sheet import Sheet

FEWEST_PICTURES = 10
"""Below so many test pictures KID says next to nothing, and is told to those who insist only."""
MAX_TRAINING_PICTURES = 1000
"""So many of each training folder, evenly spread, are enough for colours and a mean picture."""


@dataclass(slots=True)
class _Side:
    """One domain: its pictures, and what is found out about them once."""

    name: str
    test: Sequence[Picture]
    test_dir: Path
    train: Sequence[Picture] = ()
    mean: MeanPicture = field(default_factory=MeanPicture)
    """Of the training pictures, once they were read."""
    test_set: tuple[Tensor, float] | None = None
    """Features (N,F) and mean fine detail of the test pictures, for unpaired comparisons."""
    train_set: tuple[Tensor, float] | None = None
    """The same of training pictures, at most as many as there are test pictures."""


class Evaluator:
    """Test folders, and what does not depend on the model: floors, and features of real pictures.

    Those are made at the first `evaluate` and kept, so that a training can ask often.
    """

    @torch.inference_mode(mode=False)
    def __init__(  # noqa: PLR0913 - two folders to test with, two to fit with, and how
        self,
        test_a: str | Path,
        test_b: str | Path | None = None,
        train_a: str | Path | None = None,
        train_b: str | Path | None = None,
        config: EvaluationConfig | None = None,
        *,
        extractor: Extractor | None = None,
        segmentation: Segmentation | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        """List the folders and read the extractor's weights.

        Args:
            test_a: held-out pictures of domain A, or with `config.side_by_side` of both.
            test_b: held-out pictures of domain B; none if they are side by side.
            train_a: pictures that the floors are fitted on: the mean picture and the colour match.
            train_b: the same of domain B; both or none, and none if they are side by side.
            config: how to compare.
            extractor: an extractor of one's own for KID and FID, instead of `config.extractor`.
            segmentation: how to score classes, for paired folders.
            device: where the extractor runs.

        Raises:
            DatasetError: a folder can't be used, holds too few pictures, or there are no pairs.
            CycleGANError: a package is missing.
            CheckpointError: the extractor's weights are missing or damaged.
            ValueError: the arguments do not fit together.
        """
        self.config = config or EvaluationConfig()
        order = self.config.side_by_side
        if order == "no":
            if test_b is None:
                raise ValueError(
                    "an evaluation needs a test folder of domain B too, or side_by_side ab for "
                    "files that show A beside B."
                )
            if (train_a is None) != (train_b is None):
                raise ValueError("the training folders are given both or not at all.")
        elif test_b is not None or train_b is not None:
            raise ValueError(
                f"side_by_side is {order}, so that one folder has both domains; leave those of "
                "domain B out."
            )
        if segmentation is not None and not self.config.paired:
            raise ValueError("a segmentation score needs paired folders.")
        self.segmentation = segmentation
        paired = self.config.paired
        tests = self._list(test_a, test_b, most=self.config.max_pictures)
        self._read = PictureReader(self.config.size)
        self._sides = {
            "A": _Side("A", tests.a, tests.dir_a),
            "B": _Side("B", tests.b, tests.dir_b),
        }
        self.notes: list[str] = []
        if paired and tests.num_alone:
            self.notes.append(f"{tests.num_alone} test pictures without a partner were left out.")
        if not paired and tests.dir_a.samefile(tests.dir_b):
            raise ValueError(f"both test folders are {tests.dir_a}; give one of each domain.")
        for test, train, domain in ((test_a, train_a, "A"), (test_b, train_b, "B")):
            if train is not None and test is not None and Path(test).samefile(train):
                self.notes.append(
                    f"The test folder of domain {domain} is the training folder, so that its "
                    "scores say nothing about pictures that the model has never seen."
                )
        if not paired and tests.names_agree:
            self.notes.append(
                "Both test folders have the same names; if they are pairs, evaluate them as paired."
            )
        self._subset_size = self.config.subset_size if paired else self._fitting(tests)

        # What the floors are fitted on; partners are kept together.
        self._train_pairs = False
        self._matches: dict[Direction, AffineColour] = {}
        if train_a is not None:
            if paired:
                try:
                    trains = self._list(train_a, train_b)
                    self._train_pairs = True
                except DatasetError:
                    if train_b is None:
                        raise
                    trains = Folders.list(train_a, train_b, paired=False)
                    self.notes.append(
                        "The training folders have no pairs, so that the colour match was fitted "
                        "on the mean and covariance of their colours."
                    )
            else:
                trains = self._list(train_a, train_b)
            self._sides["A"].train = spread(trains.a, MAX_TRAINING_PICTURES)
            self._sides["B"].train = spread(trains.b, MAX_TRAINING_PICTURES)
        else:
            self.notes.append(
                "Without training folders there is no mean picture and no colour match to beat."
            )

        self._device = torch.device(device)
        self._perceptual: LiteExtractor | None = None
        self._extractor: Extractor | None = None
        if paired:
            self._perceptual = LiteExtractor(0).to(self._device)
        else:
            weights = self.config.inception_weights
            self._extractor = extractor or new_extractor(
                self.config.extractor, inception_weights=weights
            )
            self._extractor.to(self._device)
        self._floors: dict[Direction, dict[str, Row]] = {}

    def evaluate(
        self,
        model: CycleGAN,
        *,
        checkpoint: str = "",
        directions: Sequence[Direction] | None = None,
        sheet: str | Path | None = None,
        dtype: torch.dtype | None = None,
        on_progress: OnProgress | None = None,
    ) -> Evaluation:
        """Translate the test pictures and score them.

        Args:
            model: on any device; neither it nor torch's random state is changed.
            checkpoint: what it is called in the result.
            directions: which ones to score; by default all that the model translates.
            sheet: a picture to write, of test pictures beside their translations.
            dtype: for the convolutions, as in `CycleGAN.translate`; exact if not given.
            on_progress: called after each picture.

        Raises:
            MissingDirectionError: the model does not translate in one of `directions`.
            DatasetError: partners differ in size, or a picture is too small.
            PictureError: a picture can't be read, or the sheet can't be written.
            CycleGANError: a score is not finite, or a package is missing.
        """
        chosen = tuple(directions or model.directions)
        for direction in chosen:
            model.generator(direction)
        steps = _Progress(on_progress, self._num_pictures(chosen))
        contact = Sheet() if sheet is not None else None
        with torch.inference_mode(mode=False), torch.no_grad():
            self._fit_floors(steps)
            reports: list[DirectionReport] = []
            for direction in chosen:
                row = self._model_row(model, direction, dtype, contact, steps)
                if direction not in self._floors:
                    self._floors[direction] = self._floor_rows(direction, steps)
                source, target = self._of(direction)
                names = model.config.domains(direction)
                reports.append(
                    DirectionReport(
                        direction=direction,
                        source=names[0],
                        target=names[1],
                        num_sources=len(source.test),
                        num_targets=len(target.test),
                        rows={MODEL: row, **self._floors[direction]},
                    )
                )
        if contact is not None and sheet is not None:
            contact.write(Path(sheet))
        return Evaluation(
            checkpoint=checkpoint,
            paired=self.config.paired,
            directions=tuple(reports),
            settings=self._settings(dtype),
            notes=tuple(self.notes),
        )

    @property
    def metrics(self) -> tuple[str, ...]:
        """The whole names of the scores that have a better and a worse."""
        if self._perceptual is not None:
            classes = ("pixel accuracy", "class accuracy", "class IoU") if self.segmentation else ()
            return (
                "PSNR",
                "SSIM",
                "L1",
                f"perceptual distance ({self._perceptual.name})",
                *classes,
            )
        assert self._extractor is not None
        return f"KID ({self._extractor.name})", f"FID ({self._extractor.name})"

    def metric(self, name: str | None = None) -> str:
        """The whole name of a score, with or without its extractor's name.

        Args:
            name: by default KID, or the perceptual distance of paired folders.

        Raises:
            ValueError: there is no such score.
        """
        name = name or ("perceptual distance" if self.config.paired else "KID")
        for title in self.metrics:
            if name in (title, title.partition(" (")[0]):
                return title
        raise ValueError(f"metric must be one of {', '.join(self.metrics)}; got {name!r}.")

    # --- the rows ------------------------------------------------------------------------------

    def _model_row(
        self,
        model: CycleGAN,
        direction: Direction,
        dtype: torch.dtype | None,
        contact: Sheet | None,
        steps: _Progress,
    ) -> Row:
        """The translations' scores; also their round trips, where the model has both ways."""
        source, target = self._of(direction)
        back = opposite(direction)
        device = next(model.parameters()).device
        cycle = _Means(MODEL, direction)
        match = self._matches.get(direction)
        shown = set(spread(range(len(source.test)), Sheet.num_rows))

        def translations() -> Iterator[Tensor]:
            for number, path in enumerate(source.test):
                picture = self._read(path)
                inputs = picture[None].to(device)
                fake = model.translate(inputs, direction, dtype=dtype)
                rec = None
                if len(model.directions) == 2:
                    rec = model.translate(fake, back, dtype=dtype)[0].expand(3, -1, -1).cpu()
                    cycle.add({"cycle PSNR": psnr(rec, picture)}, path)
                result = as_written(fake[0].expand(3, -1, -1).cpu())
                if contact is not None and number in shown:
                    names = drawable_domains(model.config, direction)
                    cells = {names[0]: picture, f"to {names[1]}": result}
                    if self.config.paired:
                        cells["partner"] = self._read(target.test[number])
                    elif rec is not None:
                        cells["round trip"] = rec
                    if match is not None:
                        cells["colour match"] = match(picture)
                    contact.add(direction, cells)
                yield result

        row = self._row(translations(), direction, MODEL, steps)
        return {**row, **cycle.scores()}

    def _floor_rows(self, direction: Direction, steps: _Progress) -> dict[str, Row]:
        """What a translation has to beat, and for sets also what real pictures reach."""
        source, target = self._of(direction)
        rows: dict[str, Row] = {}
        if self.config.paired:
            rows[IDENTITY] = self._row(map(self._read, source.test), direction, IDENTITY, steps)
        else:
            rows[IDENTITY] = self._set_row(self._test_set(source, steps), target, steps)
        if not target.train:
            return rows
        if self.config.paired:
            sizes = (self._read(path).shape[-2:] for path in source.test)
            pictures = (as_written(target.mean.at(*size)) for size in sizes)
            rows[MEAN] = self._row(pictures, direction, MEAN, steps)
        else:  # as many copies of one picture as there are translations
            features, detail = self._set_of([as_written(target.mean.at(256, 256))], _Progress())
            repeated = features.expand(len(source.test), -1)
            rows[MEAN] = self._set_row((repeated, detail), target, steps)
        match = self._matches[direction]
        coloured = (as_written(match(self._read(path))) for path in source.test)
        rows[COLOUR] = self._row(coloured, direction, COLOUR, steps)
        if not self.config.paired:
            kept = spread(target.train, len(target.test))
            if len(kept) >= self._subset_size:
                if target.train_set is None:
                    target.train_set = self._set_of(map(self._read, kept), steps)
                rows[REAL] = self._set_row(target.train_set, target, steps)
        return rows

    def _row(
        self, pictures: Iterable[Tensor], direction: Direction, name: str, steps: _Progress
    ) -> Row:
        """The scores of a picture for each test picture of the source, in order."""
        source, target = self._of(direction)
        if not self.config.paired:
            return self._set_row(self._set_of(pictures, steps), target, steps)
        assert self._perceptual is not None
        means = _Means(name, direction)
        counts = None
        if self.segmentation and direction == self.segmentation.direction:
            counts = ConfusionCounts(self.segmentation.num_classes)
        title = f"perceptual distance ({self._perceptual.name})"
        for path, partner_path, picture in zip(source.test, target.test, pictures, strict=True):
            _, partner = self._read.pair(path, partner_path)
            _check_side(partner_path, partner)
            scores = pair_scores(picture, partner)
            on_device = picture.to(self._device), partner.to(self._device)
            scores[title] = perceptual_distance(self._perceptual, *on_device)
            means.add(scores, path)
            if counts is not None and self.segmentation is not None:
                truth = self.segmentation.truth or self.segmentation.segmenter
                counts.add(self.segmentation.segmenter(picture[None]), truth(partner[None]))
            steps.advance()
        classes = {} if counts is None else counts.scores()
        row = {**means.scores(), **{metric: Score(value) for metric, value in classes.items()}}
        return _finite(row, name, direction)

    def _set_row(self, found: tuple[Tensor, float], target: _Side, steps: _Progress) -> Row:
        """KID and FID of a set of pictures to the target's test pictures."""
        assert self._extractor is not None
        features, detail = found
        reference, _ = self._test_set(target, steps)
        config = self.config
        kid = kernel_distance(
            features,
            reference,
            subset_size=self._subset_size,
            num_subsets=config.num_subsets,
            seed=config.seed,
        )
        row = {
            f"KID ({self._extractor.name})": Score(*kid),
            f"FID ({self._extractor.name})": Score(frechet_distance(features, reference)),
            "fine detail": Score(detail),
        }
        return _finite(row, f"to {target.name}", self._extractor.name)

    def _test_set(self, side: _Side, steps: _Progress) -> tuple[Tensor, float]:
        if side.test_set is None:
            side.test_set = self._set_of(map(self._read, side.test), steps)
        return side.test_set

    def _set_of(self, pictures: Iterable[Tensor], steps: _Progress) -> tuple[Tensor, float]:
        """Features (N,F) and mean fine detail of a set."""
        assert self._extractor is not None
        features: list[Tensor] = []
        detail = 0.0
        for picture in pictures:
            features.append(self._extractor.features(picture[None].to(self._device)))
            detail += fine_detail(picture)
            steps.advance()
        return torch.cat(features), detail / len(features)

    # --- floors, counts, settings --------------------------------------------------------------

    def _fit_floors(self, steps: _Progress) -> None:
        """Mean pictures and colour matches, in one pass over the training pictures."""
        side_a, side_b = self._sides["A"], self._sides["B"]
        if self._matches or not side_a.train:
            return
        # Anew, because an earlier pass may have been cancelled in the middle.
        side_a.mean, side_b.mean = MeanPicture(), MeanPicture()
        if self._train_pairs:
            fits: dict[Direction, ColourPairs] = {d: ColourPairs() for d in DIRECTIONS}
            for path_a, path_b in zip(side_a.train, side_b.train, strict=True):
                real_a, real_b = self._read.pair(path_a, path_b)
                fits["a_to_b"].add(real_a, real_b)
                fits["b_to_a"].add(real_b, real_a)
                side_a.mean.add(real_a)
                side_b.mean.add(real_b)
                steps.advance(2)
            self._matches = {direction: fit.fit() for direction, fit in fits.items()}
            return
        colours_a, colours_b = ColourMoments(), ColourMoments()
        for side, colours in ((side_a, colours_a), (side_b, colours_b)):
            for path in side.train:
                picture = self._read(path)
                side.mean.add(picture)
                colours.add(picture)
                steps.advance()
        self._matches = {
            "a_to_b": match_moments(colours_a, colours_b),
            "b_to_a": match_moments(colours_b, colours_a),
        }

    def _num_pictures(self, directions: Sequence[Direction]) -> int:
        """How many pictures `evaluate` will work through."""
        sides = self._sides.values()
        total = 0 if self._matches else sum(len(side.train) for side in sides)
        if not self.config.paired:
            total += sum(len(side.test) for side in sides if side.test_set is None)
        for direction in directions:
            source, target = self._of(direction)
            total += len(source.test)
            if direction in self._floors:
                continue
            if self.config.paired:
                total += len(source.test) * (3 if target.train else 1)
            elif target.train:
                total += len(source.test)
                real = min(len(target.train), len(target.test))
                if target.train_set is None and real >= self._subset_size:
                    total += real
        return total

    def _settings(self, dtype: torch.dtype | None) -> dict[str, Any]:
        side_a, side_b = self._sides["A"], self._sides["B"]
        found: dict[str, Any] = {
            "test_a": str(side_a.test_dir),
            "test_b": str(side_b.test_dir),
            "pictures": self._read.rule,
            **({"side_by_side": order} if (order := self.config.side_by_side) != "no" else {}),
            "precision": str(dtype or torch.float32).removeprefix("torch."),
        }
        if self._matches:
            found["training_pictures"] = [len(side_a.train), len(side_b.train)]
            found["colour_match"] = (
                "least squares on training pairs"
                if self._train_pairs
                else "mean and covariance of the training pictures"
            )
        if self._extractor is not None:
            found |= {
                "extractor": self._extractor.name,
                "extractor_resize": self._extractor.resize_rule,
                "subset_size": self._subset_size,
                "num_subsets": self.config.num_subsets,
                "seed": self.config.seed,
            }
            if self.config.extractor == "inception" and self.config.inception_weights:
                found["extractor_weights"] = self.config.inception_weights.name
        return found

    def _of(self, direction: Direction) -> tuple[_Side, _Side]:
        """Source and target."""
        a, b = self._sides["A"], self._sides["B"]
        return (a, b) if direction == "a_to_b" else (b, a)

    def _list(
        self, dir_a: str | Path, dir_b: str | Path | None, most: int | None = None
    ) -> Folders:
        """Two folders, or one of pairs side by side, as the settings want it."""
        if self.config.side_by_side != "no":
            return Folders.side_by_side(dir_a, self.config.side_by_side, most=most)
        assert dir_b is not None
        return Folders.list(dir_a, dir_b, paired=self.config.paired, most=most)

    def _fitting(self, tests: Folders) -> int:
        """The subset that KID draws: as large as wanted, or as the smaller folder allows.

        Raises:
            DatasetError: there are too few pictures, and nobody insists on comparing them.
        """
        sides = (len(tests.a), tests.dir_a), (len(tests.b), tests.dir_b)
        count, folder = min(sides, key=lambda side: side[0])
        if count >= self.config.subset_size:
            return self.config.subset_size
        if count < FEWEST_PICTURES:
            limit = " of max_pictures" if count == self.config.max_pictures else ""
            told = (
                f"{folder} gives {count} test pictures{limit}, and KID says next to nothing about "
                f"fewer than {FEWEST_PICTURES}; add some"
            )
            if count >= 2:
                told += (
                    f", or insist by a subset_size of {count} (evaluate --subset-size {count}, "
                    f"train --evaluation.subset-size {count})"
                )
            raise DatasetError(f"{told}.")
        return count


def evaluate(
    model: CycleGAN,
    test_a: str | Path,
    test_b: str | Path | None = None,
    train_a: str | Path | None = None,
    train_b: str | Path | None = None,
    **options: Any,  # noqa: ANN401 - those of three signatures, named below
) -> Evaluation:
    """Score a model on held-out folders, beside floors that have learned nothing.

    Args:
        model: what to score.
        test_a: held-out pictures of domain A.
        test_b: held-out pictures of domain B; none with `side_by_side`.
        train_a: pictures that the mean picture and the colour match are fitted on.
        train_b: the same of domain B.
        options: fields of `EvaluationConfig`; `extractor` may be an `Extractor`; `segmentation`;
            and what `Evaluator.evaluate` takes: checkpoint, directions, sheet, dtype, on_progress.

    Raises:
        CycleGANError: see `Evaluator` and its `evaluate`.
        ValueError: an option is unknown or wrong.
    """
    names = ("checkpoint", "directions", "sheet", "dtype", "on_progress")
    how = {name: options.pop(name) for name in names if name in options}
    segmentation = options.pop("segmentation", None)
    own = options.pop("extractor") if isinstance(options.get("extractor"), Extractor) else None
    try:
        config = EvaluationConfig(**options)
    except TypeError as error:
        raise ValueError(f"evaluate: {error}.") from None
    evaluator = Evaluator(
        test_a,
        test_b,
        train_a,
        train_b,
        config,
        extractor=own,
        segmentation=segmentation,
        device=next(model.parameters()).device,
    )
    return evaluator.evaluate(model, **how)


class _Means:
    """Scores of pictures, averaged."""

    def __init__(self, name: str, direction: str) -> None:
        self._name = name
        self._direction = direction
        self._sums: dict[str, float] = {}
        self._count = 0

    def add(self, scores: dict[str, float], path: Picture) -> None:
        """Take in the scores of one picture.

        Raises:
            CycleGANError: one is not finite.
        """
        for metric, value in scores.items():
            if not math.isfinite(value):
                why = "it equals what it is compared with" if math.isinf(value) else "it has none"
                raise CycleGANError(
                    f"The {metric} of {path} ({self._name}, {self._direction}) is not finite: "
                    f"{why}; leave this picture out."
                )
            self._sums[metric] = self._sums.get(metric, 0.0) + value
        self._count += 1

    def scores(self) -> dict[str, Score]:
        """The means."""
        return {metric: Score(total / self._count) for metric, total in self._sums.items()}


class _Progress:
    """Counts pictures and tells how many are done."""

    def __init__(self, on_progress: OnProgress | None = None, total: int = 0) -> None:
        self._on_progress = on_progress
        self._total = total
        self._done = 0

    def advance(self, num_pictures: int = 1) -> None:
        self._done += num_pictures
        if self._on_progress is not None:
            self._on_progress(self._done, self._total)


def _finite(row: dict[str, Score], name: str, where: str) -> Row:
    for metric, score in row.items():
        if not math.isfinite(score.value):
            raise CycleGANError(
                f"The {metric} of '{name}' ({where}) is not finite ({score.value}); look at the "
                "pictures, which may be all alike or have no pixel of a known class."
            )
    return row


def _check_side(path: Picture, picture: Tensor) -> None:
    height, width = picture.shape[-2:]
    if min(height, width) < LEAST_SIDE:
        raise DatasetError(
            f"{path} has {width}×{height} pixels, and SSIM needs at least {LEAST_SIDE} each way; "
            "leave it out, or give a larger size."
        )

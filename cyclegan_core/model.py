"""The model: two generators, and what people do with them - translate, and go there and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import torch
from torch import Tensor, nn

from .checkpoint.checkpoint import Checkpoint, GeneratorWeights, read_checkpoint, write_checkpoint
from .checkpoint.folder import SUFFIXES
from .config import (
    ARROWS,
    DIRECTIONS,
    GENERATOR_NAMES,
    Direction,
    FilmSettings,
    Memory,
    ModelConfig,
    Speedup,
    Statistics,
    opposite,
)
from .errors import CheckpointError, MissingDirectionError
from .hub.catalog import find_local, is_path
from .hub.mixin import HubModel
from .hub.repository import PREFIX
from .networks import build_generator, init_weights
from .pictures.rows import RowSink, RowSource
from .pixels import to_channels
from .progress import OnProgress, ignore
from .translation.film import Film
from .translation.plan import Limits, TranslateSettings
from .translation.translate import Translation, check_input
from .translation.whole_pass import forget
from .translation.work_size import translate_rows
from .validation import WorkSize

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """A round trip; every tensor is (B,C,H,W) in [0,1]."""

    fake: Tensor
    """The translation."""
    rec: Tensor
    """The translation translated back: the same domain as the input."""
    error: Tensor
    """|rec - images| per pixel and channel; its mean is the cycle error."""


class CycleGAN(nn.Module, HubModel):
    """One or two generators that translate between picture domains A and B (Zhu et al. 2017).

    `load_model` gives one that has learned; a fresh one has to be trained by a `Trainer`.

    Example:
        >>> from cyclegan_core import load_model, read_picture, write_picture
        >>> model = load_model("photo2monet")  # a name of `cyclegan list`, or a weight file
        >>> picture = read_picture("photo.jpg")
        >>> result = model.translate(picture.pixels[None])  # (1,3,H,W) in [0,1]
        >>> write_picture("painting.png", result, alpha=picture.alpha)
    """

    gen_ab: nn.Module | None
    gen_ba: nn.Module | None

    def __init__(
        self, config: ModelConfig | None = None, *, directions: Sequence[Direction] = DIRECTIONS
    ) -> None:
        """Fresh weights from N(0, 0.02).

        Args:
            config: the architecture; the paper's 9-block network by default.
            directions: which generators exist; at least one.

        Raises:
            ValueError: `directions` is empty or holds something else than a direction.
        """
        super().__init__()
        if not directions or not set(directions) <= set(DIRECTIONS):
            raise ValueError(f"directions must name one or both of {DIRECTIONS}; got {directions}.")
        self.config = config or ModelConfig()
        self.training_info: dict[str, Any] = {}
        for direction in DIRECTIONS:
            network = None
            if direction in directions:
                network = build_generator(self.config, direction)
                init_weights(network)
            setattr(self, GENERATOR_NAMES[direction], network)

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint) -> Self:
        """The model that `read_checkpoint` found, in eval mode; it takes the tensors over."""
        # A host may load in inference mode, whose tensors could never be trained on.
        with torch.inference_mode(mode=False), torch.no_grad():
            with torch.device("meta"):
                model = cls(checkpoint.config, directions=checkpoint.directions)
            model.load_state_dict(checkpoint.state_dict(), strict=True, assign=True)
        model.training_info = checkpoint.training
        return model.eval()

    def to_checkpoint(self) -> Checkpoint:
        """The inverse of `from_checkpoint`; the tensors are the model's own."""
        return Checkpoint(
            config=self.config,
            generators={
                direction: GeneratorWeights(dict(self.generator(direction).state_dict()))
                for direction in self.directions
            },
            training=self.training_info,
        )

    @property
    def directions(self) -> tuple[Direction, ...]:
        """The directions this model can translate, A to B first."""
        return tuple(d for d in DIRECTIONS if getattr(self, GENERATOR_NAMES[d]) is not None)

    def generator(self, direction: Direction) -> nn.Module:
        """The network that translates in `direction`.

        Raises:
            ValueError: no such direction.
            MissingDirectionError: this model translates the other way only.
        """
        if direction not in DIRECTIONS:
            raise ValueError(f"direction must be one of {DIRECTIONS}; got {direction!r}.")
        network: nn.Module | None = getattr(self, GENERATOR_NAMES[direction])
        if network is None:
            (only,) = self.directions
            source, target = self.config.domains(only)
            names = "" if {source, target} == {"A", "B"} else f" ({source} → {target})"
            raise MissingDirectionError(
                f"This model only translates {ARROWS[only]}{names}, not {ARROWS[direction]}; "
                "choose the other direction, or load a second file for it."
            )
        return network

    def __repr__(self) -> str:
        """A summary; the layers, which are hundreds of lines, are in `print(model.gen_ab)`."""
        config = self.config
        depth = (
            f"{config.num_downs} downs"
            if config.generator == "unet"
            else (f"{config.num_blocks} blocks")
        )
        norm = "no" if config.norm == "none" else config.norm
        lines = [f"{config.generator}, {depth}, {config.base_channels} channels, {norm} norm"]
        for direction in self.directions:
            source, target = config.domains(direction)
            count = sum(x.numel() for x in self.generator(direction).parameters())
            name = GENERATOR_NAMES[direction]
            lines.append(f"({name}): {source} → {target}, {count:,} parameters")
        return "\n  ".join([f"{type(self).__name__}(", *lines]) + "\n)"

    def _apply(  # torch's own signature
        self,
        fn: Callable[[Tensor], Tensor],
        recurse: bool = True,  # noqa: FBT001, FBT002
    ) -> CycleGAN:
        """Do what `to` and its like do; what was recorded goes where the weights have moved."""
        before = self._places()
        super()._apply(fn, recurse)
        if self._places() != before:
            for direction in self.directions:
                forget(self.generator(direction))
        return self

    def _places(self) -> list[tuple[object, ...]]:
        """Where the weights lie, and as what numbers; a copy lies elsewhere than its original."""
        return [(x.device, x.dtype, x.data_ptr()) for x in self.state_dict().values()]

    def check_round_trip(self) -> None:
        """Make sure that `reconstruct` can work.

        Raises:
            MissingDirectionError: there is one generator only.
        """
        if len(self.directions) == 1:
            (only,) = self.directions
            raise MissingDirectionError(
                f"A round trip needs both directions, and this model only translates "
                f"{ARROWS[only]}; load a second file for {ARROWS[opposite(only)]}."
            )

    def forward(self, *_: object) -> NoReturn:
        """Nothing: a model has two directions, and pictures of any size to bring into range.

        Raises:
            NotImplementedError: always, and says what to call.
        """
        raise NotImplementedError(
            "A CycleGAN is not called: use translate(images in [0,1], direction), or "
            "generator(direction)(x) for the network alone, in its own range."
        )

    def translate(  # noqa: PLR0913 - what, how, and within which limits
        self,
        images: Tensor,
        direction: Direction = "a_to_b",
        *,
        memory: Memory = "auto",
        dtype: torch.dtype | None = None,
        on_progress: OnProgress = ignore,
        limits: Limits | None = None,
        speedup: Speedup = "none",
        work_size: WorkSize = 0,
        detail: float = 1.0,
        statistics: Statistics = "frame",
        smoothing_frames: float = 12.0,
        measured_frames: int = 32,
        steadiness: float = 0.0,
    ) -> Tensor:
        """Translate pictures from one domain to the other.

        Args:
            images: (B,C,H,W) float in [0,1], any H and W from 1 up, on any device. C is the
                model's own channel count; grey and RGB are converted into each other. What lies
                a little outside, as after bicubic resampling, is taken as it is; what goes below
                -0.5 or above 1.5 is in another range, and refused.
            direction: "a_to_b" or "b_to_a".
            memory: "whole" (each picture in one pass), "streamed" (the same result to float
                rounding, in strips: 8 times smaller; resnets only), "thumbnail" (an
                approximation with the statistics of a reduced copy), or "auto": whole where it
                fits, else streamed.
            dtype: bfloat16 or float16 for the convolutions; None or float32 for the precision
                of the weights, which `load_model` makes float32. Norm statistics are float32
                at least, and what is not finite in half precision is done again without it.
            on_progress: called as (done, in all) after each picture, of pictures in strips after
                each strip, and of whole ones from a megapixel up after each convolution (not
                with a `speedup`, nor where a GPU computes while others are copied). It never
                falls, unless a picture is begun anew for want of memory or precision; what it
                raises ends the translation there.
            limits: what the translation may use; by default what is free.
            speedup: "none", or for many pictures of one size, whole ones: "graph" (a CUDA graph,
                recorded at the first picture; elsewhere a warning says that there is none), or
                "compile" (torch.compile, which takes a minute at the first picture of a size, and
                on a CUDA device a graph of that). All keep their results, and graphs their
                memory, with the model until the weights move.
            work_size: pixels of the short side while the network works, because its strokes have
                the size that they had in training. 0 is the picture's own size; "auto" is twice
                the model's `image_size`, but at least 512. The result always has the picture's
                size: a larger picture is reduced and its translation enlarged, a smaller one the
                other way round, to at most 4 × work_size² pixels.
            detail: how much of the fine detail that was lost in reducing is put back, from 0
                (smooth) to 1; edges get no halos. It says nothing at the picture's own size.
            statistics: what instance norms norm with where `images` are the frames of a film:
                "frame" (each its own, which flickers), "shared" (the means over the film), or
                "smoothed" (an exponential average over the frames so far).
            smoothing_frames: the time constant of "smoothed", from 1 up.
            measured_frames: how many frames, evenly spread, "shared" measures; 0 is all.
            steadiness: how much of each frame of a film is carried on to the next along the film's
                optical flow, from 0 (nothing) to 0.95, so that strokes do not swim.

        Returns:
            (B,C',H,W) in [0,1], with the dtype and device of `images`; C' is the target domain's.

        Raises:
            ValueError: an argument is wrong.
            MissingDirectionError: there is no generator for `direction`.
            CycleGANError: a result is not finite even in float32, or needs more memory than
                there is in any way that `memory` allows, or torch.compile can't work here.
        """
        settings = TranslateSettings(
            memory=memory, dtype=dtype, limits=limits or Limits(), speedup=speedup
        )
        film_settings = FilmSettings(
            statistics=statistics,
            smoothing_frames=smoothing_frames,
            measured_frames=measured_frames,
            steadiness=steadiness,
        )
        translation = self._translation(direction, settings)
        film = Film(translation, film_settings, work_size=work_size, detail=detail)
        return film.translate_all(images, on_progress)

    def film(  # noqa: PLR0913 - those of `translate`
        self,
        direction: Direction = "a_to_b",
        settings: FilmSettings | None = None,
        *,
        memory: Memory = "auto",
        dtype: torch.dtype | None = None,
        limits: Limits | None = None,
        speedup: Speedup = "none",
        work_size: WorkSize = 0,
        detail: float = 1.0,
    ) -> Film:
        """Begin a film whose frames need not all be in memory: see `Film`.

        `settings` are those for films; the other arguments are those of `translate`. Where
        `Film.to_measure` names frames they are measured first, then all are translated in order.

        Raises:
            ValueError: an argument is wrong.
            MissingDirectionError: there is no generator for `direction`.
        """
        how = TranslateSettings(
            memory=memory, dtype=dtype, limits=limits or Limits(), speedup=speedup
        )
        translation = self._translation(direction, how)
        settings = settings or FilmSettings()
        return Film(translation, settings, work_size=work_size, detail=detail)

    def translate_rows(  # noqa: PLR0913 - those of `translate`, and where to
        self,
        source: RowSource,
        sink: RowSink,
        direction: Direction = "a_to_b",
        *,
        memory: Memory = "auto",
        dtype: torch.dtype | None = None,
        on_progress: OnProgress = ignore,
        limits: Limits | None = None,
        speedup: Speedup = "none",
        work_size: WorkSize = 0,
        detail: float = 1.0,
    ) -> None:
        """Translate one picture that need not be a tensor; the arguments are those of `translate`.

        Strips are read from `source`, several times, and written to `sink` once from the top
        down, so that neither has to hold floats. At a `work_size` only the small pictures are
        held, whatever the size of `source`.
        """
        settings = TranslateSettings(
            memory=memory, dtype=dtype, limits=limits or Limits(), speedup=speedup
        )
        translation = self._translation(direction, settings)
        translate_rows(translation, source, sink, work_size, detail, on_progress)

    def reconstruct(  # noqa: PLR0913 - those of `translate`
        self,
        images: Tensor,
        direction: Direction = "a_to_b",
        *,
        memory: Memory = "auto",
        dtype: torch.dtype | None = None,
        on_progress: OnProgress = ignore,
        limits: Limits | None = None,
        speedup: Speedup = "none",
    ) -> Reconstruction:
        """Translate in `direction` and back again; the arguments are those of `translate`.

        Always at the pictures' own size, because the error is to be the network's alone.
        `on_progress` counts the way there and the way back.

        Raises:
            MissingDirectionError: a round trip needs both generators.
        """
        self.check_round_trip()
        check_input(images)

        def on_way_there(done: int, total: int) -> None:
            on_progress(done, 2 * total)

        def on_way_back(done: int, total: int) -> None:
            on_progress(total + done, 2 * total)

        settings = TranslateSettings(
            memory=memory, dtype=dtype, limits=limits or Limits(), speedup=speedup
        )

        fake = self._translation(direction, settings).batch(images, on_way_there)
        rec = self._translation(opposite(direction), settings).batch(fake, on_way_back)
        error = (rec - to_channels(images.detach(), rec.shape[1])).abs()
        return Reconstruction(fake, rec, error)

    def _translation(self, direction: Direction, settings: TranslateSettings) -> Translation:
        """The generator for `direction`, ready to translate under these settings."""
        channels = self.config.channels(direction)
        return Translation(self.generator(direction), self.config, channels, settings)


def load_model(
    path: str | Path,
    *,
    direction: Direction = "a_to_b",
    path_b_to_a: str | Path | None = None,
) -> CycleGAN:
    """Load a model on the CPU, in eval mode and float32, ready to translate or to be trained on.

    Nothing is fetched: `CycleGAN.from_pretrained` does that.

    Args:
        path: a file of ours or of a foreign layout, or a folder with one (or with a pair whose
            names say their directions). A string may also be the name of a model that is bundled
            or was pulled, such as "photo2monet"; a file or folder of that name goes before it.
        direction: which way the generator of a file translates that does not say so itself.
        path_b_to_a: a second file, for the other direction; `path` is then the one from A to B.

    Raises:
        CheckpointError: a file is missing, damaged, unsafe, or no CycleGAN.
        ValueError: no such direction.
    """
    checkpoint = read_checkpoint(
        _find(path),
        direction=direction,
        path_b_to_a=None if path_b_to_a is None else _find(path_b_to_a),
    )
    return CycleGAN.from_checkpoint(checkpoint)


def _find(path: str | Path) -> str | Path:
    """The file of a model that is named; a `Path` is never a name, nor is what looks like a file.

    Raises:
        CheckpointError: there is no model of this name, nor a file.
    """
    if not isinstance(path, str) or is_path(path):
        return path
    if path.startswith(PREFIX):
        repo = path.removeprefix(PREFIX)
        raise CheckpointError(
            f"load_model fetches nothing; use CycleGAN.from_pretrained('{repo}'), or "
            f"`cyclegan pull {repo}` once."
        )
    if len(Path(path).parts) > 1 or Path(path).suffix in SUFFIXES:
        return path
    return find_local(path)


def save_model(
    model: CycleGAN,
    path: str | Path,
    *,
    dtype: torch.dtype | None = None,
    source: Mapping[str, Any] | None = None,
) -> None:
    """Write a model as one .safetensors file that describes itself; all of it or nothing.

    Args:
        model: on any device.
        path: ends in .safetensors; an existing file is replaced.
        dtype: how to store the weights, for example float16 for half the size; None keeps them.
        source: where the weights come from, for the file's header.

    Raises:
        CheckpointError: the file can't be written, or the weights hold NaN or infinity.
        ValueError: another suffix, or a dtype that is no float.
    """
    write_checkpoint(model.to_checkpoint(), path, dtype=dtype, source=source)

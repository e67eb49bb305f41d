"""The model: two generators, and what people do with them - translate, and go there and back."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from huggingface_hub import PyTorchModelHubMixin, hf_hub_download
from torch import Tensor, nn

from .config import DIRECTIONS, Direction, ModelConfig
from .errors import CycleGANError, MissingDirectionError
from .fitting import eval_mode, half_precision, pad, to_channels
from .model_folders import CONFIG_NAME, WEIGHTS_NAME
from .networks import at_least_float32, build_generator, init_weights

log = logging.getLogger(__name__)

Memory = Literal["auto", "whole"]
OnProgress = Callable[[int, int], None]
"""Called as (pictures done, pictures in all); it cancels the work by raising."""

CHUNK_PIXELS = 2**21
"""Pixels per pass on an accelerator: about 2 GB in float32 at 64 base channels."""


def ignore(done: int, total: int) -> None:
    """The callback of those who don't watch."""


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """A round trip; every tensor is (B,C,H,W) in [0,1]."""

    fake: Tensor
    """The translation."""
    rec: Tensor
    """The translation translated back: the same domain as the input."""
    error: Tensor
    """|rec - images| per pixel and channel; its mean is the cycle error."""


class CycleGAN(
    nn.Module,
    PyTorchModelHubMixin,
    library_name="cyclegan",
    tags=["cyclegan", "image-to-image", "unpaired"],
):
    """One or two generators that translate between picture domains A and B (Zhu et al. 2017)."""

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
            setattr(self, _GENERATOR_NAMES[direction], network)

    @property
    def directions(self) -> tuple[Direction, ...]:
        """The directions this model can translate, A to B first."""
        return tuple(d for d in DIRECTIONS if getattr(self, _GENERATOR_NAMES[d]) is not None)

    def generator(self, direction: Direction) -> nn.Module:
        """The network that translates in `direction`.

        Raises:
            ValueError: no such direction.
            MissingDirectionError: this model translates the other way only.
        """
        if direction not in DIRECTIONS:
            raise ValueError(f"direction must be one of {DIRECTIONS}; got {direction!r}.")
        network: nn.Module | None = getattr(self, _GENERATOR_NAMES[direction])
        if network is None:
            (only,) = self.directions
            source, target = self.config.domains(only)
            names = "" if {source, target} == {"A", "B"} else f" ({source} → {target})"
            raise MissingDirectionError(
                f"This model only translates {_ARROWS[only]}{names}, not {_ARROWS[direction]}; "
                "choose the other direction, or load a second file for it."
            )
        return network

    def check_round_trip(self) -> None:
        """Make sure that `reconstruct` can work.

        Raises:
            MissingDirectionError: there is one generator only.
        """
        if len(self.directions) == 1:
            (only,) = self.directions
            raise MissingDirectionError(
                f"A round trip needs both directions, and this model only translates "
                f"{_ARROWS[only]}; load a second file for {_ARROWS[_opposite(only)]}."
            )

    def translate(
        self,
        images: Tensor,
        direction: Direction = "a_to_b",
        *,
        memory: Memory = "auto",
        dtype: torch.dtype | None = None,
        on_progress: OnProgress = ignore,
    ) -> Tensor:
        """Translate pictures from one domain to the other.

        Args:
            images: (B,C,H,W) float in [0,1], any H and W from 1 up, on any device. C is the
                model's own channel count; grey and RGB are converted into each other.
            direction: "a_to_b" or "b_to_a".
            memory: "whole" (each picture in one pass); "auto" means the same.
            dtype: bfloat16 or float16 for the convolutions; None or float32 for the precision
                of the weights, which `load_model` makes float32. Norm statistics are float32
                always, and what is not finite in half precision is done again without it.
            on_progress: called after each picture.

        Returns:
            (B,C',H,W) in [0,1], with the dtype and device of `images`; C' is the target domain's.

        Raises:
            ValueError: an argument is wrong.
            MissingDirectionError: there is no generator for `direction`.
            CycleGANError: a result is not finite even in float32.
        """
        network = self.generator(direction)
        _check_arguments(images, memory, dtype)
        batch, _, height, width = images.shape
        channels, result_channels = self.config.channels(direction)
        weights = next(network.parameters())
        result = images.new_empty(batch, result_channels, height, width)
        chunk = (
            1 if weights.device.type == "cpu" else max(1, CHUNK_PIXELS // max(1, height * width))
        )
        with torch.no_grad(), eval_mode(network):
            for start in range(0, batch, chunk):
                part = slice(start, start + chunk)
                inputs = to_channels(images[part].to(weights.device, weights.dtype), channels)
                result[part] = self._translate_chunk(network, inputs, dtype)
                for done in range(start + 1, min(start + chunk, batch) + 1):
                    on_progress(done, batch)
        return result

    def _translate_chunk(
        self, network: nn.Module, images: Tensor, dtype: torch.dtype | None
    ) -> Tensor:
        """(B,C,H,W) in [0,1], of the network's device and dtype -> (B,C',H,W) in [0,1]."""
        low, high = self.config.value_range
        height, width = images.shape[-2:]
        padded = pad(images * (high - low) + low, self.config.size_multiple, self.config.min_size)
        half = dtype if dtype in (torch.bfloat16, torch.float16) else None
        with half_precision(images.device, half):
            output: Tensor = network(padded)
        output = at_least_float32(output[..., :height, :width]).add(1).div(2).clamp(0, 1)
        if torch.isfinite(output).all():
            return output
        if half:
            log.warning("A result in %s is not finite; translating again without it.", half)
            return self._translate_chunk(network, images, None)
        if torch.isfinite(images).all():
            precision = str(images.dtype).removeprefix("torch.")
            raise CycleGANError(
                "The translation is not finite because the weights hold NaN or infinite values, "
                f"or overflow {precision}; check where the model came from."
            )
        raise CycleGANError(
            "The picture holds NaN or infinite values, so it can't be translated; "
            "check where it came from."
        )

    def reconstruct(
        self,
        images: Tensor,
        direction: Direction = "a_to_b",
        *,
        memory: Memory = "auto",
        dtype: torch.dtype | None = None,
        on_progress: OnProgress = ignore,
    ) -> Reconstruction:
        """Translate in `direction` and back again; the arguments are those of `translate`.

        `on_progress` counts two translations per picture.

        Raises:
            MissingDirectionError: a round trip needs both generators.
        """
        self.check_round_trip()
        _check_arguments(images, memory, dtype)
        total = 2 * len(images)

        def on_way_there(done: int, _: int) -> None:
            on_progress(done, total)

        def on_way_back(done: int, _: int) -> None:
            on_progress(total // 2 + done, total)

        fake = self.translate(
            images, direction, memory=memory, dtype=dtype, on_progress=on_way_there
        )
        rec = self.translate(
            fake, _opposite(direction), memory=memory, dtype=dtype, on_progress=on_way_back
        )
        error = (rec - to_channels(images.detach(), rec.shape[1])).abs()
        return Reconstruction(fake, rec, error)

    def _save_pretrained(self, save_directory: Path) -> None:
        """Write `config.json` and `model.safetensors` (called by `save_pretrained`)."""
        from .checkpoint import atomic_write, save_model

        settings = {"config": self.config.to_dict(), "training": self.training_info}
        text = json.dumps(settings, indent=2, sort_keys=True) + "\n"
        atomic_write(
            save_directory / CONFIG_NAME,
            lambda temporary: temporary.write_text(text, encoding="utf-8"),
        )
        save_model(self, save_directory / WEIGHTS_NAME)

    @classmethod
    def _from_pretrained(
        cls,
        *,
        model_id: str,
        revision: str | None,
        cache_dir: str | Path | None,
        force_download: bool,
        local_files_only: bool,
        token: str | bool | None,
        **_: Any,  # noqa: ANN401 - what the base class read from config.json; we read it ourselves
    ) -> CycleGAN:
        """Load a folder or a Hub repository of our layout (called by `from_pretrained`)."""
        from .checkpoint import load_model

        if Path(model_id).is_dir():
            return load_model(model_id)
        path = hf_hub_download(
            model_id,
            WEIGHTS_NAME,
            revision=revision,
            cache_dir=cache_dir,
            force_download=force_download,
            local_files_only=local_files_only,
            token=token,
        )
        return load_model(path)


_ARROWS: dict[Direction, str] = {"a_to_b": "A→B", "b_to_a": "B→A"}


def _opposite(direction: Direction) -> Direction:
    return "b_to_a" if direction == "a_to_b" else "a_to_b"


_GENERATOR_NAMES: dict[Direction, str] = {"a_to_b": "gen_ab", "b_to_a": "gen_ba"}


def _check_arguments(images: Tensor, memory: str, dtype: torch.dtype | None) -> None:
    if images.ndim != 4 or not images.is_floating_point():
        raise ValueError(
            "images must be a float tensor (B,C,H,W) in [0,1]; got "
            f"{tuple(images.shape)} of {images.dtype}."
        )
    if 0 in images.shape[1:]:
        raise ValueError(f"images must have at least one pixel; got {tuple(images.shape)}.")
    if memory not in get_args(Memory):
        raise ValueError(f"memory must be one of {', '.join(get_args(Memory))}; got {memory!r}.")
    if dtype not in (None, torch.float32, torch.bfloat16, torch.float16):
        raise ValueError(f"dtype must be float32, bfloat16 or float16; got {dtype}.")

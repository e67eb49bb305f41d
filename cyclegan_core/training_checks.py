"""What is checked before a training and at each of its steps: it stops before harm is done."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from .config import TrainConfig
from .data import UnpairedFolders
from .errors import CycleGANError, TrainingDivergedError
from .ranks import any_rank

_ADVICE = "lower the learning rate, or remove flat or damaged pictures"


def check_data(config: TrainConfig, data: UnpairedFolders) -> None:
    """The pictures must fit the networks.

    Raises:
        ValueError: channels or sizes do not fit.
    """
    for name in ("channels_a", "channels_b"):
        pictures, networks = getattr(data.config, name), getattr(config.model, name)
        if pictures != networks:
            raise ValueError(
                f"{name} is {pictures} for the pictures and {networks} for the model; "
                "set both to the same."
            )
    if data.config.crops:
        _check_sides(config, {data.config.crop_size}, "crop_size must be")
        return
    sizes = frozenset[tuple[int, int]]().union(*data.sample_sizes)
    _check_sides(config, {side for size in sizes for side in size}, "the sides of pictures must be")
    if config.gan_mode == "wgangp" and len(sizes) > 1:
        raise ValueError(
            "gan_mode wgangp mixes real with generated pictures, so all must have one size; "
            f"got {len(sizes)} sizes with preprocess {data.config.preprocess!r}, so choose one "
            "that crops."
        )


def _check_sides(config: TrainConfig, sides: set[int], what: str) -> None:
    multiple, least = config.model.size_multiple, config.model.min_size
    if config.discriminator == "patch":
        # Two last layers of stride 1 take a pixel each, and instance norm needs 2 pixels.
        least = max(least, 3 * 2**config.disc_layers)
    for side in sorted(sides):
        if side % multiple or side < least:
            raise ValueError(
                f"{what} a multiple of {multiple} and at least {least} for these networks; "
                f"got {side}."
            )


def check_terms(terms: Mapping[str, Tensor], step: int) -> None:
    """Every term of step number `step` (from 1) must be finite, on every rank.

    Raises:
        TrainingDivergedError: names the step and the term.
    """
    values = torch.stack([term.detach() for term in terms.values()])
    is_bad = ~torch.isfinite(values).all()
    if not any_rank(is_bad):
        return
    if not is_bad:
        raise TrainingDivergedError(f"Step {step}: another process's loss is not finite.")
    name = next(name for name, term in terms.items() if not torch.isfinite(term))
    raise TrainingDivergedError(
        f"Step {step}: {name} is {float(terms[name].detach())}, so the weights were "
        f"left as they were; {_ADVICE}."
    )


@contextmanager
def statistics_kept(network: nn.Module) -> Generator[None]:
    """Put batch norm's running statistics back if the block ends in a divergence."""
    before = [(buffer, buffer.clone()) for buffer in network.buffers()]
    try:
        yield
    except TrainingDivergedError:
        for buffer, value in before:
            buffer.copy_(value)
        raise


@contextmanager
def compiled(*, wanted: bool) -> Generator[None]:
    """Say in a sentence that torch.compile can't work here, which shows at the first step.

    Raises:
        CycleGANError: it can't.
    """
    if not wanted:
        yield
        return
    from torch._dynamo.exc import TorchDynamoException  # importing it takes a second

    try:
        yield
    except TorchDynamoException as error:
        lines = [line for line in str(error).splitlines() if line and not line.endswith(":")]
        reason = lines[0].rstrip(".") if lines else type(error).__name__
        raise CycleGANError(
            f"The networks can't be compiled here ({reason}); turn compile off, or install what "
            "is missing."
        ) from error


def check_gradient(norm: Tensor, who: str, step: int) -> None:
    """The norm of all gradients together must be finite.

    A finite loss can have a gradient that is not: of a flat picture behind instance norm, say.

    Raises:
        TrainingDivergedError: it is not; names the step.
    """
    if not torch.isfinite(norm):
        raise TrainingDivergedError(
            f"Step {step}: the gradient of the {who} is {float(norm)}, so the weights were left "
            f"as they were; {_ADVICE}."
        )

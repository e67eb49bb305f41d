"""What is compared: a step of our trainer and of the plain implementation, and their arithmetic.

The plain implementation is the parity tests' second one, as it is: float32, pixels of a channel
together, six generator passes one after the other, the instance norm written out with means and
variances. Autograd makes such a norm slower than torch's own; so that nobody need think that it
flatters us, there is a second plain side with torch's.
"""

from __future__ import annotations

import argparse
import importlib
import random
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody uses

from cyclegan_core import DataConfig, ModelConfig, TrainConfig, Trainer
from cyclegan_core.networks import PatchDiscriminator, build_generator

PARITY = Path(__file__).parents[1] / "tests" / "parity"
PLAIN = {"plain": "written-out", "torch norm": "torch"}
"""The plain sides, and their norms."""


def sizes(case: str) -> tuple[int, int]:
    """Blocks and pixels: `resnet_9@256` is 9 and 256."""
    blocks, side = case.removeprefix("resnet_").split("@")
    return int(blocks), int(side)


def pictures(case: str, batch: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A batch of each domain in [0,1]."""
    side = sizes(case)[1]
    a, b = torch.rand(2, batch, 3, side, side, generator=torch.Generator().manual_seed(1))
    return a, b


class ByHand:
    """What a trainer asks of its data when it is stepped by hand."""

    digest = "by hand"

    def __init__(self, side: int) -> None:
        self.config = DataConfig(load_size=side, crop_size=side)

    def __len__(self) -> int:
        return 1000


def our_step(
    case: str, options: argparse.Namespace, settings: dict[str, object]
) -> Callable[[], object]:
    """The trainer's step; `settings` are those of `TrainConfig`."""
    blocks, side = sizes(case)
    model = ModelConfig(num_blocks=blocks, base_channels=options.channels, image_size=side)
    config = TrainConfig(model=model, disc_channels=options.channels, **settings)
    trainer = Trainer(config, ByHand(side), device=options.device)
    a, b = pictures(case, config.batch_size)
    return lambda: trainer.train_step(a, b)


def plain_step(
    case: str, options: argparse.Namespace, side: str, batch: int = 1
) -> Callable[[], object]:
    """The plain implementation's step; `side` is one of `PLAIN`."""
    plain, training = plain_modules(PLAIN[side])
    rng = torch.Generator().manual_seed(0)
    judge = plain.Arch(width=options.channels)
    arch = plain.Arch(num_blocks=sizes(case)[0], width=options.channels)
    networks = {name: plain.resnet_params(arch, rng) for name in ("gen_ab", "gen_ba")}
    networks |= {name: plain.patch_params(judge, rng) for name in ("disc_a", "disc_b")}
    for params in networks.values():
        params |= {key: tensor.to(options.device) for key, tensor in params.items()}
    pools = tuple(training.ImagePool(50, random.Random(0)) for _ in "ab")
    state = training.make_state(networks, generator=arch, discriminator=judge, pools=pools)
    del networks
    a, b = ((picture * 2 - 1).to(options.device) for picture in pictures(case, batch))
    return lambda: training.plain_step(state, a, b)


def plain_modules(norm: str) -> tuple[ModuleType, ModuleType]:
    """tests/parity/plain.py and plain_training.py by path; `norm` is "written-out" or "torch".

    Each norm has modules of its own, so that both can be there in one process.
    """
    name = f"plain_implementation_{norm.replace('-', '_')}"
    if name not in sys.modules:
        package = ModuleType(name)
        package.__path__ = [str(PARITY)]
        sys.modules[name] = package
        if norm == "torch":
            _use_torch_norm(importlib.import_module(f"{name}.plain"))
    plain = importlib.import_module(f"{name}.plain")
    return plain, importlib.import_module(f"{name}.plain_training")


def _use_torch_norm(plain: ModuleType) -> None:
    written_out = plain.norm

    def fast(p: dict, key: str, x: torch.Tensor, arch: object, *, training: bool) -> object:
        if arch.norm != "instance":
            return written_out(p, key, x, arch, training=training)
        return F.instance_norm(x)

    plain.norm = fast


# --- arithmetic --------------------------------------------------------------------------------


def multiply_adds(case: str, channels: int) -> float:
    """Of the convolutions of a plain step of one picture, counted by a pass of each network.

    A generator passes six times, each a convolution forwards and two gradients; discriminators two
    times without the gradient of their weights, and four times with it.
    """
    blocks, side = sizes(case)
    model = ModelConfig(num_blocks=blocks, base_channels=channels, image_size=side)
    generator = count(build_generator(model, "a_to_b"), side)
    judge = count(PatchDiscriminator(3, base_channels=channels), side)
    return 6 * 3 * generator + (2 * 2 + 4 * 3) * judge


def count(network: torch.nn.Module, side: int) -> float:
    """Multiply-adds of a pass over one picture, from the shapes that meet in it.

    The network is moved to the meta device and is of no use afterwards.
    """
    total = 0

    def note(layer: torch.nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        nonlocal total
        (x,) = inputs
        pixels = x if isinstance(layer, torch.nn.ConvTranspose2d) else output
        total += layer.weight.numel() * pixels[0, 0].numel()

    for layer in network.to("meta").modules():
        if isinstance(layer, (torch.nn.Conv2d, torch.nn.ConvTranspose2d)):
            layer.register_forward_hook(note)
    network(torch.empty(1, 3, side, side, device="meta"))
    return float(total)

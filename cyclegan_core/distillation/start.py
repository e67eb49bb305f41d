"""A student that begins as a part of its teacher: its most telling channels, block by block.

Nothing is trained here. Of every map a subset of channels is kept, chosen one by one so that the
next convolution's output is explained best; and that convolution's weights take over what the
channels left out had in common with those kept, by least squares over a few pictures. Sources:
channel selection with reconstruction, He et al. 2017 ("Channel Pruning for Accelerating Very Deep
Neural Networks") and Luo et al. 2017 (ThiNet). Norms are those of the kept channels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ..config import Direction
from ..device.precision import half_precision
from ..model import CycleGAN
from ..networks import ResnetBlock, ResnetGenerator
from ..pixels import to_value_range

Conv = nn.Conv2d | nn.ConvTranspose2d

_SAMPLED_SIDE = 64
"""Of larger maps every third place counts each way; there are enough."""

_RIDGE = 1e-4
"""What least squares adds to the diagonal, as a part of its mean, for channels that are alike."""

_BATCH = 4
"""Pictures that pass the teacher at a time."""


@dataclass(frozen=True, slots=True)
class _Layer:
    """A convolution and the norm behind it."""

    conv: Conv
    norm: nn.Module | None


@dataclass(frozen=True, slots=True)
class _Layers:
    """A resnet generator's layers in the order of the network."""

    encoder: list[_Layer]
    blocks: list[list[_Layer]]
    decoder: list[_Layer]
    last: _Layer

    @classmethod
    def of(cls, network: nn.Module) -> _Layers:
        modules = list(network.model)  # pyright: ignore
        blocks = [module for module in modules if isinstance(module, ResnetBlock)]
        rest = _layers(module for module in modules if module not in blocks)
        inner = [_layers(block.conv_block) for block in blocks]
        return cls(rest[:3], inner, rest[3:5], rest[5])


def _layers(modules: Iterable[nn.Module]) -> list[_Layer]:
    found: list[_Layer] = []
    for module in modules:
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            found.append(_Layer(module, None))
        elif isinstance(module, (nn.InstanceNorm2d, nn.BatchNorm2d)):
            found[-1] = _Layer(found[-1].conv, module)
    return found


@torch.no_grad()
def part_of(
    teacher: CycleGAN,
    direction: Direction,
    pictures: Tensor,
    *,
    base_channels: int,
    num_blocks: int,
    dtype: torch.dtype | None = None,
) -> CycleGAN:
    """A model of one direction that is a narrower and shorter copy of a resnet.

    Args:
        teacher: a model whose generators are resnets, in eval mode.
        direction: the generator to copy.
        pictures: (B,C,H,W) in [0,1], on any device; 32 crops of 128 pixels are enough.
        base_channels: the copy's, at most the teacher's.
        num_blocks: the copy's, at most the teacher's; the blocks that matter least are left out.
        dtype: of the teacher's convolutions.

    Returns:
        The copy on the CPU, in float32 and eval mode.
    """
    network = teacher.generator(direction)
    assert isinstance(network, ResnetGenerator)
    weights = next(network.parameters())
    inputs = to_value_range(pictures.to(weights.device, weights.dtype), teacher.config)
    batches = inputs.split(_BATCH)
    with half_precision(weights.device, dtype):
        kept = _blocks_that_matter(network, batches[: max(1, 8 // _BATCH)], num_blocks)
        moments = _moments(network, batches, kept)

    config = replace(teacher.config, base_channels=base_channels, num_blocks=num_blocks)
    student = CycleGAN(config, directions=(direction,))
    old, new = _Layers.of(network), _Layers.of(student.generator(direction))

    def choose(users: Sequence[_Layer], count: int) -> Tensor:
        return _choose([(moments[each.conv], _metric(each.conv)) for each in users], count)

    def copy(target: _Layer, source: _Layer, outputs: Tensor, inputs: Tensor | None) -> None:
        """Fill a layer with these outputs of the teacher's; None stands for the picture's."""
        restore = None if inputs is None else _restoring(moments[source.conv], inputs)
        _copy(target, source, outputs, restore)

    # Encoder: what the first two layers keep is for their only user, the next layer.
    blocks = [old.blocks[number] for number in kept]
    first = choose([old.encoder[1]], base_channels)
    second = choose([old.encoder[2]], 2 * base_channels)
    copy(new.encoder[0], old.encoder[0], first, None)
    copy(new.encoder[1], old.encoder[1], second, first)

    # Blocks add to what they take, so that one choice is for all of them and the decoder.
    through = choose([*(block[0] for block in blocks), old.decoder[0]], 4 * base_channels)
    copy(new.encoder[2], old.encoder[2], through, second)
    for target, source in zip(new.blocks, blocks, strict=True):
        inside = choose([source[1]], 4 * base_channels)
        copy(target[0], source[0], inside, through)
        copy(target[1], source[1], through, inside)

    # Decoder, which ends with all channels of the picture.
    third = choose([old.decoder[1]], 2 * base_channels)
    fourth = choose([old.last], base_channels)
    copy(new.decoder[0], old.decoder[0], third, through)
    copy(new.decoder[1], old.decoder[1], fourth, third)
    copy(new.last, old.last, torch.arange(old.last.conv.out_channels), fourth)
    return student.eval()


def _blocks_that_matter(
    network: ResnetGenerator, batches: Sequence[Tensor], count: int
) -> list[int]:
    """The numbers of the blocks, ascending, without which the output would change most."""
    modules = list(network.model)
    places = [i for i, module in enumerate(modules) if isinstance(module, ResnetBlock)]
    effects = [0.0] * len(places)
    if count == len(places):
        return list(range(count))

    def run(x: Tensor, start: int) -> Tensor:
        for module in modules[start:]:
            x = module(x)
        return x.float()

    for batch in batches:
        x = batch
        inputs: list[Tensor] = []
        for place, module in enumerate(modules[: places[-1] + 1]):
            if place in places:
                inputs.append(x.clone())
            x = module(x)
        whole = run(x, places[-1] + 1)
        for number, place in enumerate(places):
            without = run(inputs[number].clone(), place + 1)
            effects[number] += float((without - whole).square().sum())
    order = sorted(range(len(places)), key=lambda number: -effects[number])
    return sorted(order[:count])


def _moments(
    network: ResnetGenerator, batches: Sequence[Tensor], kept: Sequence[int]
) -> dict[nn.Module, Tensor]:
    """Σ x xᵀ over places, (C,C) float64 on the CPU, of every convolution's input x.

    Blocks that are not kept are left out on the way.
    """
    layers = _Layers.of(network)
    convs = [layer.conv for layer in (*layers.encoder, *layers.decoder, layers.last)]
    convs += [layer.conv for number in kept for layer in layers.blocks[number]]
    sums: dict[nn.Module, Tensor] = {}

    def hook(conv: Conv) -> Callable[[nn.Module, tuple[Tensor]], None]:
        def take(_: nn.Module, arguments: tuple[Tensor]) -> None:
            x = arguments[0]
            if isinstance(conv, nn.Conv2d) and conv.padding == (0, 0):
                edge = conv.kernel_size[0] // 2  # reflected already, which counts nothing twice
                x = x[:, :, edge:-edge, edge:-edge]
            if x.shape[2] > _SAMPLED_SIDE:
                x = x[:, :, ::3, ::3]
            flat = x.transpose(0, 1).flatten(1).double().cpu()
            moment = flat @ flat.T
            sums[conv] = sums[conv] + moment if conv in sums else moment

        return take

    handles = [conv.register_forward_pre_hook(hook(conv)) for conv in convs]
    try:
        for batch in batches:
            x, number = batch, 0
            for module in network.model:
                if isinstance(module, ResnetBlock):
                    number += 1
                    if number - 1 not in kept:
                        continue
                x = module(x)
    finally:
        for handle in handles:
            handle.remove()
    return sums


def _kernel(conv: Conv) -> Tensor:
    """The weights as (O,I,k,k) float64 on the CPU."""
    weight = conv.weight.detach().cpu().double()
    return weight.transpose(0, 1) if isinstance(conv, nn.ConvTranspose2d) else weight


def _metric(conv: Conv) -> Tensor:
    """WᵀW, (I,I): how much an error in the input counts in the output."""
    flat = _kernel(conv).transpose(1, 3).flatten(0, 2)
    return flat.T @ flat


def _choose(users: Sequence[tuple[Tensor, Tensor]], count: int) -> Tensor:
    """So many channels, ascending, from which the users' inputs are predicted best.

    Each user is (moment, metric). One channel is added at a time: the one that explains most of
    what those before it leave unexplained, in all users' outputs, each measured by its whole.
    """
    rest = [moment / (moment * metric).sum().clamp_min(1e-30) for moment, metric in users]
    floors = [1e-9 * moment.diag().max() for moment in rest]
    chosen: list[int] = []
    for _ in range(count):
        gain = torch.zeros(len(rest[0]), dtype=torch.float64)
        for moment, floor, (_, metric) in zip(rest, floors, users, strict=True):
            gain += ((metric @ moment) * moment).sum(0) / moment.diag().clamp_min(floor)
        gain[chosen] = -1
        best = int(gain.argmax())
        chosen.append(best)
        for number, moment in enumerate(rest):
            column = moment[:, best]
            rest[number] = moment - column.outer(column) / column[best].clamp_min(floors[number])
    return torch.tensor(sorted(chosen))


def _restoring(moment: Tensor, kept: Tensor) -> Tensor:
    """(C,K): all channels from those kept, by least squares."""
    own = moment[kept][:, kept]
    own = own + _RIDGE * own.diag().mean() * torch.eye(len(kept), dtype=own.dtype)
    return torch.linalg.solve(own, moment[kept]).T


def _copy(target: _Layer, source: _Layer, outputs: Tensor, restore: Tensor | None) -> None:
    kernel = _kernel(source.conv)[outputs]
    if restore is not None:
        kernel = torch.einsum("oihw,ik->okhw", kernel, restore)
    if isinstance(source.conv, nn.ConvTranspose2d):
        kernel = kernel.transpose(0, 1)
    target.conv.weight.copy_(kernel)
    if target.conv.bias is not None and source.conv.bias is not None:
        target.conv.bias.copy_(source.conv.bias[outputs.to(source.conv.bias.device)])
    if target.norm is not None and source.norm is not None:
        theirs = source.norm.state_dict()
        for name, tensor in target.norm.state_dict().items():
            own = theirs[name].cpu()
            tensor.copy_(own[outputs] if own.ndim else own)

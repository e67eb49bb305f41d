"""What a network is made of: frozen, self-checking settings that travel in the weight file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args, get_type_hints

Direction = Literal["a_to_b", "b_to_a"]
"""Which way a picture is translated."""

DIRECTIONS: tuple[Direction, ...] = get_args(Direction)


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    """Architecture of both generators of a CycleGAN."""

    generator: Literal["resnet", "unet"] = "resnet"
    """Kind of generator: the paper's residual network, or the pix2pix U-Net."""
    num_blocks: int = 9
    """Residual blocks of the resnet: 6 for 128-pixel pictures, 9 from 256 pixels on."""
    num_downs: int = 8
    """Halvings of the U-Net: 7 for 128-pixel pictures, 8 for 256."""
    base_channels: int = 64
    """Channels after the first convolution."""
    channels_a: int = 3
    """Channels of domain A's pictures: 3 for RGB, 1 for grey."""
    channels_b: int = 3
    """Channels of domain B's pictures."""
    norm: Literal["instance", "batch", "none"] = "instance"
    """Normalisation after each convolution."""
    norm_affine: bool = False
    """Learned scale and shift after instance norm; batch norm always has them."""
    dropout: bool = False
    """Dropout of 0.5 inside residual blocks (or the U-Net's inner levels); off in eval mode."""
    padding: Literal["reflect", "zero"] = "reflect"
    """Padding inside the residual blocks; both ends of the network always reflect."""
    down_padding: Literal["zero", "reflect"] = "zero"
    """Padding of the two stride-2 convolutions."""
    upsample: Literal["transposed", "resize"] = "transposed"
    """Transposed convolution as in the paper, or nearest resize + convolution (no checkerboard)."""
    value_range: tuple[float, float] = (-1.0, 1.0)
    """What black and white are mapped to at the network's input; its output is tanh, always -1..1."""
    domain_a: str = "A"
    """Display name of domain A, for example "photo"."""
    domain_b: str = "B"
    """Display name of domain B, for example "Monet"."""
    image_size: int = 256
    """Side in pixels of the pictures it was trained on."""

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for field in fields(self):
            choices = get_args(hints[field.name])
            if choices and isinstance(choices[0], str) and getattr(self, field.name) not in choices:
                raise ValueError(
                    f"{field.name} must be one of {', '.join(choices)}; "
                    f"got {getattr(self, field.name)!r}."
                )
        for name in ("base_channels", "channels_a", "channels_b", "image_size"):
            _check_int(name, getattr(self, name), least=1)
        _check_int("num_blocks", self.num_blocks, least=0)
        _check_int("num_downs", self.num_downs, least=5)
        low, high = self.value_range
        if not low < high:
            raise ValueError(f"value_range must be (low, high) with low < high; got {low}, {high}.")

    @property
    def size_multiple(self) -> int:
        """Heights and widths that the network keeps are multiples of this."""
        return 4 if self.generator == "resnet" else 2**self.num_downs

    @property
    def min_size(self) -> int:
        """Least height and width: reflection padding of 1 needs 2 pixels at quarter size."""
        return max(8, self.size_multiple)

    def channels(self, direction: Direction) -> tuple[int, int]:
        """Input and output channels of the generator for `direction`."""
        pair = (self.channels_a, self.channels_b)
        return pair if direction == "a_to_b" else (pair[1], pair[0])

    def domains(self, direction: Direction) -> tuple[str, str]:
        """Display names of the source and the target of `direction`."""
        pair = (self.domain_a, self.domain_b)
        return pair if direction == "a_to_b" else (pair[1], pair[0])

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON-ready values."""
        return {**asdict(self), "value_range": list(self.value_range)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelConfig:
        """The inverse of `to_dict`.

        Raises:
            ValueError: a setting is unknown (written by a newer version) or out of range.
        """
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ValueError(
                f"unknown setting {', '.join(map(repr, unknown))}; it may come from a newer version."
            )
        settings = dict(values)
        if "value_range" in settings:
            low, high = settings["value_range"]
            settings["value_range"] = (float(low), float(high))
        return cls(**settings)


def _check_int(name: str, value: object, *, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}; got {value!r}.")

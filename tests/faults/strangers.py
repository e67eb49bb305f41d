"""Networks that are no CycleGAN, by the names and shapes of their tensors: each must be refused.

    python -m tests.faults.strangers

The long form builds every network of torchvision, and those of transformers and spandrel where they
are installed, without memory for their tensors. The short form has the first tensors of famous
networks, as their own projects name them.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
import sys
import warnings
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from cyclegan_core import CheckpointError
from cyclegan_core.checkpoint.layouts import find_generators

FAMOUS = """
AdaIN: decoder.1.weight=256,512,3,3 decoder.5.weight=256,256,3,3 decoder.28.weight=3,64,3,3
ALAE: decode_block.0.conv_1.weight=512,512,3,3 to_rgb.0.to_rgb.weight=3,512,1,1
AlexNet: features.0.weight=64,3,11,11 features.3.weight=192,64,5,5 classifier.1.weight=4096,9216
BERT: bert.embeddings.word_embeddings.weight=30522,768 bert.encoder.layer.0.output.dense.bias=768
BigGAN: shared.weight=1000,128 blocks.0.0.conv1.weight=1536,1536,3,3 output_layer.2.weight=3,96,3,3
BiSeNet: cp.resnet.conv1.weight=64,3,7,7 cp.arm16.conv.conv.weight=128,256,3,3
BycycleGAN encoder: conv.0.weight=64,3,4,4 conv.1.conv.0.weight=128,64,3,3 fc.0.weight=8,256
CLIP: visual.conv1.weight=768,3,32,32 transformer.resblocks.0.attn.in_proj_weight=1536,512
CodeFormer: encoder.blocks.0.weight=64,3,3,3 quantize.embedding.weight=1024,256
ControlNet: control_model.input_hint_block.0.weight=16,3,3,3 control_model.zero_convs.0.0.bias=9
CycleGAN discriminator: model.0.weight=64,3,4,4 model.2.weight=128,64,4,4 model.11.weight=1,512,4,4
DCGAN: main.0.weight=100,512,4,4 main.1.weight=512 main.3.weight=512,256,4,4 main.12.weight=64,3,4,4
DeepLab: backbone.conv1.weight=64,3,7,7 classifier.0.convs.0.0.weight=256,2048,1,1
DeOldify: layers.0.0.weight=64,3,7,7 layers.4.shuf.conv.0.weight_orig=1024,512,1,1
DETR: transformer.encoder.layers.0.linear1.weight=2048,256 query_embed.weight=100,256
DINO: cls_token=1,1,384 patch_embed.proj.weight=384,3,16,16 blocks.0.attn.qkv.weight=1152,384
DiscoGAN: main.0.weight=64,3,4,4 main.2.weight=128,64,4,4 main.11.weight=512,256,4,4
DRIT: enc_c.convA.0.model.1.weight=64,3,7,7 gen.decA1.0.conv.1.weight=256,256,3,3
EDSR: head.0.weight=256,3,3,3 body.0.body.0.weight=256,256,3,3 tail.0.0.weight=1024,256,3,3
FUNIT: gen.enc_content.model.0.conv.weight=64,3,7,7 gen.mlp.model.0.fc.weight=256,64
GauGAN (SPADE): fc.weight=1024,184,3,3 head_0.norm_0.mlp_shared.0.weight=128,184,3,3
GLIDE: input_blocks.0.0.weight=192,3,3,3 time_embed.0.weight=768,192 out.2.weight=6,192,3,3
GPT-2: wte.weight=50257,768 h.0.attn.c_attn.weight=768,2304 h.0.ln_1.weight=768
HiDT: encoder.content.model.0.conv.weight=32,3,7,7 decoder.model.0.weight=128,64,3,3
InceptionV3: Conv2d_1a_3x3.conv.weight=32,3,3,3 Mixed_5b.branch1x1.conv.weight=64,192,1,1
LaMa: generator.model.1.ffc.convl2l.weight=64,4,7,7 generator.model.5.conv1.bn_l.weight=9
Llama: model.embed_tokens.weight=32000,4096 model.layers.0.self_attn.q_proj.weight=4096,4096
MiDaS: pretrained.layer1.0.weight=64,3,7,7 scratch.refinenet1.resConfUnit1.conv1.weight=9,9,3,3
NICE-GAN: ConvBlock1.1.weight=64,3,7,7 UpBlock2.0.conv.weight=256,256,3,3 gamma.0.weight=256,256
Noise2Noise: block1.0.weight=48,3,3,3 block2.0.weight=48,48,3,3 block6.4.weight=3,32,3,3
pix2pix of aladdinpersson: initial_down.0.weight=64,3,4,4 down1.conv.0.weight=128,64,4,4
ProGAN: initial.layers.0.weight=512,512,4,4 layers.0.conv_1.weight=512,512,3,3 rgb.weight=3,9,1,1
RAFT: fnet.conv1.weight=64,3,7,7 update_block.gru.convz1.weight=128,384,1,5
ResNet: conv1.weight=64,3,7,7 layer1.0.conv1.weight=64,64,1,1 fc.weight=1000,2048
RIFE: flownet.block0.conv0.0.0.weight=45,7,3,3 contextnet.conv1.conv1.0.weight=16,3,3,3
SAGAN: l1.0.module.weight_bar=100,512,4,4 attn1.query_conv.weight=16,128,1,1
SAM: image_encoder.patch_embed.proj.weight=1280,3,16,16 mask_decoder.iou_token.weight=1,256
SRGAN: initial.cnn.weight=64,3,9,9 residuals.0.block1.cnn.weight=64,64,3,3 final.weight=3,64,9,9
SRGAN of eriklindernoren: conv1.0.weight=64,3,9,9 res_blocks.0.conv_block.0.weight=64,64,3,3
StarGAN v2: from_rgb.weight=64,3,3,3 encode.0.conv1.weight=64,64,3,3 decode.0.norm1.fc.weight=9,64
StyleGAN2: mapping.fc0.weight=512,512 synthesis.b4.conv1.weight=512,512,3,3
StyleGAN3: mapping.fc0.weight=512,512 synthesis.L0_36_512.weight=512,512,3,3
Swapping autoencoder: E.FromRGB.0.weight=32,3,1,1 G.HeadResnetBlock0.conv1.conv.weight=1,9,9,3,3
T5: shared.weight=32128,512 encoder.block.0.layer.0.SelfAttention.q.weight=512,512
TSIT: content_encoder.layer0.conv_0.weight=64,3,3,3 style_encoder.layer0.conv_0.weight=64,3,3,3
U-Net of milesial: inc.double_conv.0.weight=64,3,3,3 down1.maxpool_conv.1.double_conv.0.bias=9
U2Net: stage1.rebnconvin.conv_s1.weight=64,3,3,3 stage1.rebnconv1.bn_s1.weight=32
VGG: features.0.weight=64,3,3,3 features.28.weight=512,512,3,3 classifier.6.weight=1000,4096
VQGAN: encoder.conv_in.weight=128,3,3,3 quantize.embedding.weight=1024,256
WGAN: model.0.weight=128,100 model.2.weight=256,128 model.11.weight=784,1024
Whisper: encoder.conv1.weight=512,80,3 decoder.blocks.0.attn.query.weight=512,512
YOLO: model.0.conv.weight=32,3,6,6 model.1.conv.weight=64,32,3,3 model.24.m.0.weight=255,128,1,1
White-box cartoon: generator.conv.weight=32,3,7,7 generator.block_0.conv1.weight=128,128,3,3
""".strip()


def famous() -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Name, and a few tensors without numbers."""
    for line in FAMOUS.splitlines():
        name, _, entries = line.partition(": ")
        pairs = (entry.split("=") for entry in entries.split())
        yield (
            name,
            {key: torch.empty(*map(int, shape.split(",")), device="meta") for key, shape in pairs},
        )


def torchvision_networks() -> Iterator[tuple[str, nn.Module]]:
    from torchvision.models import get_model_builder, list_models

    for name in list_models():
        builder = get_model_builder(name)
        nothing = {k: None for k in inspect.signature(builder).parameters if "weights" in k}
        yield from _built(name, functools.partial(builder, **nothing))


def spandrel_networks() -> Iterator[tuple[str, nn.Module]]:
    import spandrel.architectures

    for module in pkgutil.iter_modules(spandrel.architectures.__path__):
        found = importlib.import_module(f"spandrel.architectures.{module.name}")
        for name, kind in vars(found).items():
            if isinstance(kind, type) and issubclass(kind, nn.Module):
                yield from _built(f"{module.name} {name}", kind)


def transformers_networks() -> Iterator[tuple[str, nn.Module]]:
    from transformers import CONFIG_MAPPING, AutoModel

    for name in sorted(CONFIG_MAPPING):
        yield from _built(name, lambda name=name: AutoModel.from_config(CONFIG_MAPPING[name]()))


def _built(name: str, make) -> Iterator[tuple[str, nn.Module]]:
    """One network, if it can be made with its own defaults and without memory."""
    if inspect.isclass(make) and any(
        p.default is p.empty and p.kind is p.KEYWORD_ONLY
        for p in inspect.signature(make).parameters.values()
    ):
        return
    try:
        with torch.device("meta"):
            network = make()
    except Exception:  # noqa: BLE001 - it needs what is not here
        return
    yield name, network


def refusal(name: str, tensors: dict[str, Tensor]) -> str:
    """Why it is refused.

    Raises:
        AssertionError: it is not.
    """
    try:
        found = find_generators("net.pth", tensors)
    except CheckpointError as error:
        message = str(error)
        assert message.startswith("net.pth ")
        assert message.endswith(".")
        return message
    raise AssertionError(f"{name} was taken for {[generator.layout for generator in found]}")


def main() -> None:
    """The long form."""
    warnings.simplefilter("ignore")
    total = 0
    for networks in (torchvision_networks, spandrel_networks, transformers_networks):
        number = 0
        for name, network in networks():
            number += 1
            try:
                print(f"{name}: {refusal(name, network.state_dict())}")  # noqa: T201
            except AssertionError as error:
                print(f"FAILED {error}")  # noqa: T201
        print(f"{networks.__name__}: {number}", file=sys.stderr)  # noqa: T201
        total += number
    print(f"{total} networks")  # noqa: T201


if __name__ == "__main__":
    main()

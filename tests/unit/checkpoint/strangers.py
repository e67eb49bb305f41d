"""A few keys and shapes of each network that must be refused by name, as in its own files."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from . import foreign


def keys(**shapes: tuple[int, ...]) -> dict[str, Tensor]:
    """A state dict by names and shapes; "__" stands for a dot."""
    return {name.replace("__", "."): torch.ones(shape) for name, shape in shapes.items()}


def patch_discriminator(width: int = foreign.WIDTH, *, blur: bool = False) -> nn.Module:
    layers: list[nn.Module] = [nn.Conv2d(3, width, 4, 2, 1), nn.LeakyReLU(0.2)]
    for scale, stride in ((1, 2), (2, 2), (4, 1)):
        inner, outer = scale * width, 2 * scale * width
        layers += [nn.Conv2d(inner, outer, 4, stride, 1), nn.InstanceNorm2d(outer)]
        layers.append(nn.LeakyReLU(0.2))
        layers += [foreign.Blur(outer, up=False)] if blur else []
    return foreign.Named("model", nn.Sequential(*layers, nn.Conv2d(8 * width, 1, 4, 1, 1)))


_CONV = (4, 4, 3, 3)

# name in the refusal -> a few keys that tell the network, as in the project's own files
STRANGERS: dict[str, dict[str, Tensor]] = {
    "CUT feature": keys(mlp_0__0__weight=(4, 4), mlp_0__0__bias=(4,)),
    "CycleGAN-Turbo": keys(sd_encoder__a__lora_A__weight=(4, 4), sd_vae_enc__b__weight=(4, 4)),
    "pix2pix-turbo": keys(state_dict_unet__conv_in__weight=_CONV),
    "pix2pixHD": keys(
        model__1__weight=(4, 36, 7, 7),
        model__10__weight=(32, 16, 3, 3),
        model__13__weight=(64, 32, 3, 3),
        model__16__conv_block__1__weight=(64, 64, 3, 3),
    ),
    "AttentionGAN": {
        **foreign.upstream().state_dict(),
        **keys(model__15__conv_block__1__weight=_CONV, model__33__weight=(4, 4, 7, 7)),
    },
    "U-GAT-IT": keys(
        DownBlock__1__weight=(4, 3, 7, 7),
        DownBlock__10__conv_block__1__weight=(16, 16, 3, 3),
        gap_fc__weight=(1, 4),
        UpBlock1_1__conv1__weight=_CONV,
    ),
    "UVCGAN": keys(net__layer_input__0__weight=_CONV, net__unet__inner_module__re_alpha=(1,)),
    "StarGAN": keys(main__0__weight=(4, 8, 7, 7), main__9__main__0__weight=_CONV),
    "CartoonGAN": keys(conv01_1__weight=(4, 3, 7, 7), in01_1__scale=(4,)),
    "AnimeGAN": keys(block_a__0__1__weight=_CONV, out_layer__0__weight=(3, 4, 1, 1)),
    "TransformerNet": keys(
        conv1__conv2d__weight=(4, 3, 9, 9), res1__conv1__conv2d__weight=_CONV, in1__weight=(4,)
    ),
    "MonetTransformer": keys(
        encoder__0__weight=(8, 3, 4, 4),
        res_blocks__0__1__weight=(8, 8, 3, 3),
        res_blocks__0__5__weight=(8, 8, 3, 3),
        decoder__0__weight=(8, 4, 4, 4),
    ),
    "GANs course": keys(
        upfeature__conv__weight=(4, 3, 7, 7),
        contract1__conv1__weight=(8, 4, 3, 3),
        res0__conv1__weight=(16, 16, 3, 3),
    ),
    "GANILLA": keys(G_A__P2_1__weight=_CONV, G_A__layer1__0__conv1__weight=_CONV),
    "GANimation": keys(
        main__0__weight=(4, 8, 7, 7), main__9__main__0__weight=_CONV, img_reg__0__weight=_CONV
    ),
    "UNIT or MUNIT network": keys(
        enc_content__model__0__conv__weight=(4, 3, 7, 7),
        enc_style__model__0__conv__weight=(4, 3, 7, 7),
        dec__model__0__model__0__model__0__conv__weight=_CONV,
    ),
    "Stable Diffusion autoencoder (VAE)": keys(
        encoder__conv_in__weight=(4, 3, 3, 3),
        encoder__down_blocks__0__resnets__0__conv1__weight=_CONV,
        quant_conv__weight=(8, 8, 1, 1),
    ),
    "diffusion (U-Net of diffusers)": keys(
        conv_in__weight=(4, 3, 3, 3),
        time_embedding__linear_1__weight=(4, 4),
        down_blocks__0__resnets__0__conv1__weight=_CONV,
    ),
    "UNIT or MUNIT": keys(shared_block__conv_block__1__weight=_CONV),
    "pix2pix or DualGAN U-Net": keys(
        down1__model__0__weight=(4, 3, 4, 4), up1__model__0__weight=(4, 4, 4, 4)
    ),
    "Stable Diffusion or LoRA": keys(model__diffusion_model__input_blocks__0__0__weight=_CONV),
    "upscaling": keys(model__0__weight=_CONV, model__1__sub__0__RDB1__conv1__0__weight=_CONV),
}

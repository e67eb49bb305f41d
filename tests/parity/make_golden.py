"""Makes the numbers of `test_plain.py` with the original authors' own training step.

Usage: python tests/parity/make_golden.py CHECKOUT

CHECKOUT is a clone of https://github.com/taesungp/contrastive-unpaired-translation (commit b3ac297
made the numbers in use), whose `CycleGANModel`, networks and image pool are the original's, with
anti-aliasing as an option that is off here. Twelve steps of float64 on the CPU; `golden.json` then
holds per setup the losses of the first and of the last step and the sum of the final |weights|.
"""

from __future__ import annotations

import functools
import itertools
import json
import random
import sys
import types
from pathlib import Path

import torch
from torch import nn

sys.path[0] = str(Path(__file__).parents[1])
from parity.test_plain import GOLDEN_PATH, SETUPS, Setup, pictures, start_params  # noqa: E402

TERMS = {
    "gan_ab": "G_A", "gan_ba": "G_B", "cycle_a": "cycle_A", "cycle_b": "cycle_B",
    "identity_a": "idt_B", "identity_b": "idt_A", "disc_a": "D_B", "disc_b": "D_A",
}  # fmt: skip
NETWORKS = {"gen_ab": "netG_A", "gen_ba": "netG_B", "disc_a": "netD_B", "disc_b": "netD_A"}


def build(setup: Setup) -> object:
    """The authors' model without its option parser."""
    from models import networks
    from models.cycle_gan_model import CycleGANModel
    from util.image_pool import ImagePool

    layer = {"instance": nn.InstanceNorm2d, "batch": nn.BatchNorm2d}[setup.norm]
    norm = functools.partial(layer)
    model = object.__new__(CycleGANModel)
    model.opt = types.SimpleNamespace(
        lambda_identity=setup.lambda_identity, lambda_A=10.0, lambda_B=7.0, amp=False
    )
    for name, params in start_params(setup).items():
        if name.startswith("gen"):
            net = networks.ResnetGenerator(
                3, 3, 4, norm, n_blocks=2, no_antialias=True, no_antialias_up=True
            )
        else:
            net = networks.NLayerDiscriminator(3, 4, 2, norm, no_antialias=True)
        net.double().load_state_dict(params)
        setattr(model, NETWORKS[name], net)
    model.fake_A_pool, model.fake_B_pool = ImagePool(3), ImagePool(3)
    model.criterionGAN = networks.GANLoss(setup.gan_mode).double()
    model.criterionCycle = model.criterionIdt = nn.L1Loss()
    gens = itertools.chain(model.netG_A.parameters(), model.netG_B.parameters())
    discs = itertools.chain(model.netD_A.parameters(), model.netD_B.parameters())
    model.optimizer_G = torch.optim.Adam(gens, lr=2e-4, betas=(0.5, 0.999))
    model.optimizer_D = torch.optim.Adam(discs, lr=2e-4, betas=(0.5, 0.999))
    return model


def main() -> None:
    """Write the golden numbers of each setup."""
    sys.path.insert(0, sys.argv[1])
    golden = {}
    for name, setup in SETUPS.items():
        model, history = build(setup), []
        random.seed(5)
        for real_a, real_b in pictures():
            model.real_A, model.real_B = real_a, real_b
            model.optimize_parameters()
            losses = {ours: getattr(model, f"loss_{theirs}") for ours, theirs in TERMS.items()}
            history.append({term: round(float(loss), 10) for term, loss in losses.items()})
        nets = [getattr(model, net) for net in NETWORKS.values()]
        total = sum(p.detach().abs().sum().item() for net in nets for p in net.parameters())
        golden[name] = [history[0], history[-1], round(total, 8)]
    GOLDEN_PATH.write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()

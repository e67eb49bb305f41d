"""The oracle itself: `plain_training.py` against the original authors' step, and by hand."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody uses
from torch import Tensor
from torch.testing import assert_close

from .plain import Arch, Params, patch_params, resnet_params
from .plain_training import (
    ImagePool,
    gan_loss,
    gradient_penalty,
    linear_multiplier,
    make_state,
    plain_step,
    trainable,
)

pytestmark = pytest.mark.parity

GOLDEN_PATH = Path(__file__).with_name("golden.json")


@dataclass(frozen=True)
class Setup:
    norm: str
    gan_mode: str
    lambda_identity: float

    @property
    def generator(self) -> Arch:
        return Arch(width=4, num_blocks=2, norm=self.norm)

    @property
    def discriminator(self) -> Arch:
        return Arch(width=4, num_layers=2, norm=self.norm)


SETUPS = {
    "lsgan": Setup("instance", "lsgan", 0.5),
    "vanilla": Setup("batch", "vanilla", 0.5),
    "wgangp": Setup("instance", "wgangp", 0.0),
}


def start_params(setup: Setup) -> dict[str, Params]:
    rng = torch.Generator().manual_seed(0)
    nets = {name: resnet_params(setup.generator, rng) for name in ("gen_ab", "gen_ba")}
    nets |= {name: patch_params(setup.discriminator, rng) for name in ("disc_a", "disc_b")}
    return {n: {key: value.double() for key, value in p.items()} for n, p in nets.items()}


def pictures(num_steps: int = 12) -> Iterator[tuple[Tensor, Tensor]]:
    rng = torch.Generator().manual_seed(1)
    for _ in range(num_steps):
        pair = torch.rand(2, 2, 3, 32, 32, generator=rng).double() * 2 - 1
        yield pair[0], pair[1]


@pytest.mark.parametrize("name", SETUPS)
def test_twelve_steps_equal_the_original(name: str) -> None:
    """Numbers of `make_golden.py`: batch 2, lambda_b 7, pools of 3 that share one generator.

    Float64, because in float32 Adam turns the rounding noise in the gradient of a bias before an
    instance norm (zero in exact arithmetic) into whole steps of +-lr.
    """
    setup, rng = SETUPS[name], random.Random(5)
    state = make_state(
        start_params(setup),
        generator=setup.generator,
        discriminator=setup.discriminator,
        pools=(ImagePool(3, rng), ImagePool(3, rng)),
        gan_mode=setup.gan_mode,
        lambda_b=7.0,
        lambda_identity=setup.lambda_identity,
        lambda_penalty=0.0,  # the original never adds the penalty
    )
    history = [plain_step(state, real_a, real_b) for real_a, real_b in pictures()]
    first, last, total = json.loads(GOLDEN_PATH.read_text())[name]
    for ours, theirs in ((history[0], first), (history[-1], last)):
        values = {key: value.item() for key, value in ours.items()}
        assert values == pytest.approx(theirs, rel=0, abs=1e-9)
    nets = (state.gen_ab, state.gen_ba, state.disc_a, state.disc_b)
    weights = [tensor for net in nets for tensor in trainable(net)]
    assert sum(w.abs().sum().item() for w in weights) == pytest.approx(total, rel=0, abs=1e-6)


def test_gan_losses() -> None:
    logits = torch.linspace(-3, 3, 12).reshape(1, 1, 3, 4)
    for is_real, target in ((True, torch.ones_like(logits)), (False, torch.zeros_like(logits))):
        least_squares = gan_loss(logits, is_real=is_real, mode="lsgan")
        assert_close(least_squares, F.mse_loss(logits, target))
        likelihood = gan_loss(logits, is_real=is_real, mode="vanilla")
        assert_close(likelihood, F.binary_cross_entropy_with_logits(logits, target))
        sign = -1 if is_real else 1
        assert gan_loss(logits + 1, is_real=is_real, mode="wgangp") == pytest.approx(sign)


def test_gradient_penalty_of_a_linear_critic() -> None:
    """D(x) = <w, x> has gradient w everywhere: (|w| - 1)^2, here (5 - 1)^2."""
    weight = torch.zeros(1, 3, 2, 2)
    weight[0, 0, 0, 0], weight[0, 2, 1, 1] = 3.0, 4.0
    real, fake = torch.zeros(2, 3, 2, 2), torch.ones(2, 3, 2, 2)
    penalty = gradient_penalty(lambda x: x * weight, real, fake, torch.rand(2, 1, 1, 1))
    assert penalty == pytest.approx(16.0)


def test_penalty_changes_the_loss_and_the_critic() -> None:
    def step(seed: int, weight: float) -> tuple[float, Tensor]:
        setup = SETUPS["wgangp"]
        state = make_state(
            start_params(setup),
            generator=setup.generator,
            discriminator=setup.discriminator,
            gan_mode="wgangp",
            lambda_penalty=weight,
            penalty_rng=torch.Generator().manual_seed(seed),
        )
        loss = plain_step(state, *next(pictures(1)))["disc_a"]
        return loss.item(), state.disc_a["model.0.weight"].detach()

    (loss, weights), (bare_loss, bare_weights) = step(0, 10.0), step(0, 0.0)
    assert loss == step(0, 10.0)[0] != step(1, 10.0)[0]
    assert abs(loss - bare_loss) > 0.1
    assert not torch.equal(weights, bare_weights)


class ScriptedRandom(random.Random):
    """Says what it is told; an unexpected draw raises IndexError."""

    def __new__(cls, *_: float) -> ScriptedRandom:
        return super().__new__(cls)  # before Python 3.11 it takes one argument

    def __init__(self, *draws: float) -> None:
        super().__init__()
        self.draws = list(draws)

    def uniform(self, a: float, b: float) -> float:
        return self.draws.pop(0)

    def randint(self, a: int, b: int) -> int:
        assert (a, b) == (0, 1)
        return int(self.draws.pop(0))


def test_image_pool_by_hand() -> None:
    rng = ScriptedRandom(0.5, 0.51, 1, 0.9, 1, 0.2, 0.7, 0)
    pool = ImagePool(2, rng)
    pictures = torch.arange(1.0, 8.0).reshape(7, 1, 1, 1)
    seen = [pool.query(picture[None]).item() for picture in pictures[:5]]
    # 1, 2: stored. 3: 0.5 is not above a half. 4: takes the place of 2. 5: of 4.
    assert seen == [1, 2, 3, 2, 4]
    # A batch goes in picture by picture. 6: returned. 7: takes the place of 1.
    assert pool.query(pictures[5:]).flatten().tolist() == [6, 1]
    assert [image.item() for image in pool.images] == [7, 5]
    assert not rng.draws
    assert torch.equal(ImagePool(0, ScriptedRandom()).query(pictures), pictures)


def test_linear_schedule() -> None:
    assert linear_multiplier(1) == linear_multiplier(100) == 1.0
    assert linear_multiplier(101) == pytest.approx(100 / 101)
    assert 2e-4 * linear_multiplier(200) == pytest.approx(1.98e-6, rel=1e-3)

"""The equivariance term: by hand, in a training that goes on, and where it has no place."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from cyclegan_core import CheckpointError
from cyclegan_core.config import TrainConfig
from cyclegan_core.training.losses import equivariance_term, moved
from cyclegan_core.training.trainer import Trainer

from ..tiny import MODEL, ByHand, make_batch, make_config, open_folders, train

WITH = {"lambda_equivariance": 15.0}


def test_moved_windows_are_slices() -> None:
    pictures = torch.rand(3, 2, 10, 12)
    moves = torch.tensor([[0, 3, 0], [2, 1, 1], [3, 0, 1]])
    windows = moved(pictures, moves, 4)
    assert torch.equal(windows[0], pictures[0, :, 0:6, 3:11])
    assert torch.equal(windows[1], pictures[1, :, 2:8, 1:9].flip(-1))
    assert torch.equal(windows[2], pictures[2, :, 3:9, 0:8].flip(-1))


def test_the_term_by_hand() -> None:
    trainer = Trainer(make_config(**WITH), ByHand())
    picture = make_batch(1, side=32)[0] * 2 - 1
    fake = trainer.model.gen_ab(picture)
    moves = torch.tensor([[1, 2, 1]])
    ours = equivariance_term(trainer.model, trainer.config, "a_to_b", picture, fake, moves)
    of_moved = trainer.model.gen_ab(picture[..., 1:29, 2:30].flip(-1))
    difference = (of_moved - fake[..., 1:29, 2:30].flip(-1))[..., 3:-3, 3:-3]
    assert_close(ours, 15 * difference.abs().mean())
    assert float(ours.detach()) > 0


def test_a_training_has_the_terms_only_with_a_weight(tmp_path) -> None:
    names = ("equivariance_ab", "equivariance_ba")
    with_it = train(make_config(**WITH), open_folders(tmp_path / "d"), until=2)
    without = train(make_config(), open_folders(tmp_path / "d"), until=2)
    assert with_it.term_names == (*without.term_names, *names)
    assert all(float(x) > 0 for row in with_it.history for x in row[-2:])
    # It moves the generators, and nothing else that is drawn.
    assert torch.equal(with_it.history[0][:8], without.history[0])
    assert not torch.equal(with_it.history[1][:8], without.history[1])


def test_a_run_does_not_go_on_without_it(tmp_path) -> None:
    data = open_folders(tmp_path / "d")
    train(make_config(**WITH), data, until=1).save_state(tmp_path / "state.safetensors")
    with pytest.raises(CheckpointError, match=r"lambda_equivariance = 15\.0, not 0\.0; use that"):
        Trainer(make_config(), data).load_state(tmp_path / "state.safetensors")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"lambda_equivariance": -1.0}, "lambda_equivariance must be"),
        (
            {"model": replace(MODEL, generator="unet"), **WITH},
            r"lambda_equivariance must be 0 for a U-Net, .*; got 15\.0\.",
        ),
        (
            {"objective": "pix2pix", **WITH},
            r"lambda_equivariance must be 0 with objective pix2pix, .*; got 15\.0\.",
        ),
    ],
)
def test_a_wrong_setting_is_named(settings, sentence) -> None:
    with pytest.raises(ValueError, match=f"^{sentence}"):
        TrainConfig(**settings)

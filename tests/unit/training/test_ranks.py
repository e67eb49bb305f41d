"""Data-parallel training: two ranks over gloo on the loopback device."""

from __future__ import annotations

import csv
import json
import platform
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
import torch.distributed as dist

from cyclegan_core import load_model
from cyclegan_core.device.distributed import (
    any_rank,
    average_gradients,
    gather,
    own_meeting_place,
    rank_0_says,
    rank_and_world_size,
    spread,
)
from cyclegan_core.errors import CheckpointError
from cyclegan_core.runs.run_folder import RunFolder
from cyclegan_core.training.trainer import Trainer

from ..evaluation.samples import fill
from ..processes import environment
from ..run_files import content, files, rows
from ..tiny import FEATURES, MODEL, assert_same, everything, make_batch, make_config, open_folders
from .rank_worker import double_pictures, exact

if sys.platform == "win32" or not dist.is_available() or not dist.is_gloo_available():
    pytest.skip("needs fork and gloo", allow_module_level=True)

ENVIRONMENT = {
    **environment(),
    "GLOO_SOCKET_IFNAME": "lo0" if sys.platform == "darwin" else "lo",
    "PYTHONWARNINGS": "ignore",
}

FULL = make_config(pool_size=0, max_steps=3)
POOLS = make_config(
    pool_size=1, max_steps=5, gan_mode="wgangp", input_noise=0.1, augment_colour=0.2
)
SAVING = make_config(max_steps=3, save_every=2, sample_every=2, keep_checkpoints=1)
LONG = make_config(max_steps=6, save_every=4, sample_every=100, pool_size=2)
STILL = replace(LONG, max_steps=20, lr=1e-12, ema_decay=0.0)
"""Learns next to nothing, so that soon an evaluation is no better than the one before."""
# A rank augments by random numbers of its own.
UNCHANGED = {"augment_colour": 0.0, "augment_shift": 0.0}
FEATURES_ALONE = make_config(**FEATURES | UNCHANGED, warmup_steps=1, pool_size=0, max_steps=3)
PAIRS = make_config(objective="pix2pix", directions="both", max_steps=3)
ORDERS = {
    "equal": (FULL, {"double": True}),
    "pairs": (PAIRS, {"double": True}),
    "features": (FEATURES_ALONE, {"double": True}),
    "clipped": (replace(FULL, grad_clip=0.01), {"double": True}),
    "half": (POOLS, {"until": 3, "save": "half.safetensors"}),
    "resumed": (POOLS, {"load": "half.safetensors"}),
    "undisturbed": (POOLS, {}),
    "dropout": (make_config(model=replace(MODEL, dropout=True), max_steps=2), {}),
    "saving": (SAVING, {"run": "saving"}),
    "long": (LONG, {"run": "long"}),
    "stopped": (LONG, {"run": "stopped", "ask": 1}),
    "evaluated": (STILL, {"run": "evaluated", "test": "test"}),
    "evaluated, read late": (
        replace(STILL, read_every=5),
        {"run": "evaluated late", "test": "test"},
    ),
    "stopped before": (STILL, {"run": "evaluated", "test": "test"}),
    "locked": (SAVING, {"run": "locked"}),
    "apart": (SAVING, {"run": "apart", "apart": True}),
    "unlike": (SAVING, {"run": "unlike", "unlike": True}),
    "poison": (FULL, {"poison": 1}),
    "poison, read late": (replace(FULL, read_every=3), {"poison": 1}),
}


@pytest.fixture(scope="module")
def done(tmp_path_factory, pictures):
    """The folder in which all orders were done."""
    folder = tmp_path_factory.mktemp("ranks")
    for number, domain in enumerate("ab"):
        fill(folder / "test" / domain, 4, number + 1)
    orders = []
    for name, (config, more) in ORDERS.items():
        order = {"config": config.to_dict(), "data": str(pictures), "out": str(folder / name)}
        for key, value in more.items():
            is_path = key in ("load", "save", "run", "test")
            order[key] = str(folder / value) if is_path else value
        orders.append(order)
    (folder / "orders.json").write_text(json.dumps(orders))
    worker = [sys.executable, "-m", "tests.unit.training.rank_worker", folder / "orders.json"]
    holder = Trainer(SAVING, open_folders(pictures))
    with RunFolder(folder / "locked", holder):
        subprocess.run(worker, env=ENVIRONMENT, check=True, timeout=300)
    return folder


def ranks(folder, name):
    """What each of the two ranks ended with."""
    return [torch.load(folder / f"{name}.{rank}", weights_only=False) for rank in (0, 1)]


def shared(result):
    """What must not depend on the rank."""
    own = ("history", "rng", "wrote")
    return {
        name: value
        for name, value in result.items()
        if name not in own and not name.startswith("pool_")
    }


# --- arithmetic --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["equal", "clipped", "features", "pairs"])
def test_two_ranks_with_batch_1_are_one_with_batch_2(done, pictures, name):
    config = replace(ORDERS[name][0], batch_size=2)
    single = Trainer(config, open_folders(pictures, config.objective))
    exact(single)
    double_pictures(single)
    single.run()
    expected, results = everything(single), ranks(done, name)
    assert_same(shared(results[0]), shared(results[1]))
    for key, value in shared(expected).items():
        if isinstance(value, torch.Tensor):
            worst = float((value - results[0][key]).abs().max())
            assert worst < 1e-12, f"{key} differs by {worst:.2g}"  # double: another order of sums
        else:
            assert value == results[0][key]
    mean = (results[0]["history"] + results[1]["history"]) / 2
    assert (mean - expected["history"]).abs().max() < 1e-12
    assert (results[0]["history"] - results[1]["history"]).abs().max() > 1e-3


def test_without_averaging_it_would_show(done, pictures):
    """One rank's own half of the pictures leads elsewhere."""
    alone = Trainer(FULL, open_folders(pictures))
    exact(alone)
    double_pictures(alone)
    alone.run()
    name = "model.gen_ab.model.1.weight"
    result = ranks(done, "equal")[0]
    assert (everything(alone)[name] - result[name]).abs().max() > 1e-7


def test_dropout_differs_by_rank_and_weights_do_not(done):
    one, other = ranks(done, "dropout")
    assert_same(shared(one), shared(other))


def test_resume_of_two_ranks_is_exact(done):
    """Each with its own pools and random numbers."""
    (first, second), (one, other) = ranks(done, "resumed"), ranks(done, "undisturbed")
    second["history"][:3] = other["history"][:3]  # the file holds rank 0's losses
    assert_same(first, one)
    assert_same(second, other)
    assert one["rng"] != other["rng"]
    assert {name for name in one if name.startswith("pool")} == {
        f"pool_{domain}.0.0" for domain in "ab"
    }
    assert_same(shared(one), shared(other))
    assert one["position"] == 10


# --- another number of ranks --------------------------------------------------------------------


def test_a_state_of_two_ranks_goes_on_with_one_and_back_the_same_to_the_bit(
    done, pictures, tmp_path
):
    """One takes the pictures of both in two passes; pools and random numbers are those of both."""
    alone = Trainer(POOLS, open_folders(pictures))
    alone.load_state(done / "half.safetensors")
    assert (alone.step, alone.position) == (3, 6)
    assert (alone.config.batch_size, alone.config.accumulate) == (2, 2)
    alone.run()
    ended, two = everything(alone), ranks(done, "undisturbed")
    assert_same(shared(ended), shared(two[0]))
    pools = [{n: each[n] for n in each if n.startswith("pool_")} for each in (ended, *two)]
    assert_same(pools[0], pools[1] | pools[2])
    assert ended["rng"] == two[0]["rng"] | two[1]["rng"]

    # What is kept is what was asked for, so that the same command can go on with either.
    alone.save_state(tmp_path / "one.safetensors")
    again = Trainer(POOLS, alone.data)
    again.load_state(tmp_path / "one.safetensors")
    assert_same(everything(again), ended)
    assert again.config == alone.config
    for rank in (0, 1):
        trainer = as_rank(rank, 2, POOLS, pictures)
        trainer.load_state(tmp_path / "one.safetensors")
        assert (trainer.config.batch_size, trainer.config.accumulate) == (1, 1)
        now = everything(trainer) | {"history": two[rank]["history"]}
        assert_same(now, {name: two[rank][name] for name in now})


def as_rank(rank, world_size, config, pictures):
    """A trainer that takes itself for one of several, as far as it needs no others."""
    trainer = Trainer(config, open_folders(pictures, config.objective))
    trainer.rank = trainer.state.rank = rank
    trainer.world_size = world_size
    return trainer


def test_more_ranks_than_image_pools_are_refused(done, pictures):
    trainer = as_rank(0, 4, POOLS, pictures)
    before = everything(trainer)
    with pytest.raises(CheckpointError) as caught:
        trainer.load_state(done / "half.safetensors")
    assert str(caught.value) == (
        "half.safetensors has the image pools and random numbers of 2 processes, which 4 can't "
        "share; start 1 or 2, or another run from this one's model."
    )
    assert_same(everything(trainer), before)


def test_without_pools_and_random_numbers_ranks_share_as_they_can(pictures, tmp_path):
    config = replace(FULL, batch_size=6, accumulate=2)
    Trainer(config, open_folders(pictures)).save_state(tmp_path / "state")
    trainer = as_rank(2, 3, config, pictures)
    trainer.load_state(tmp_path / "state")
    assert (trainer.config.batch_size, trainer.config.accumulate) == (2, 1)
    assert [lane.number for lane in trainer.state.lanes] == [2]
    with pytest.raises(CheckpointError, match=r"with 6 pictures a step, which 4 processes can't"):
        as_rank(0, 4, config, pictures).load_state(tmp_path / "state")


def test_what_a_process_computes_over_its_own_batch_keeps_the_number(pictures, tmp_path):
    config = make_config(model=replace(MODEL, norm="batch"), objective="pix2pix", batch_size=2)
    Trainer(config, open_folders(pictures, "pix2pix")).save_state(tmp_path / "state")
    with pytest.raises(CheckpointError) as caught:
        as_rank(0, 2, config, pictures).load_state(tmp_path / "state")
    assert str(caught.value) == (
        "state was trained by 1 processes, each with batch norms of its own, so 2 would not go on "
        "in the same way; start 1."
    )


def test_a_batch_by_hand_has_pictures_for_every_pool(done, pictures):
    config = replace(POOLS, batch_size=3)
    with pytest.raises(CheckpointError, match=r"the batch size must be a multiple of 2, got 3\.$"):
        Trainer(config, open_folders(pictures)).load_state(done / "half.safetensors")
    trainer = Trainer(POOLS, open_folders(pictures))
    trainer.load_state(done / "half.safetensors")
    with pytest.raises(ValueError, match=r"^a batch must be a multiple of 2, .*; got 1\.$"):
        trainer.train_step(*make_batch(1))


# --- files and faults --------------------------------------------------------------------------


def test_rank_0_alone_writes(done):
    one, other = ranks(done, "saving")
    for name in (".lock", "state.safetensors", "run.json", "losses.csv", "step_0000002.jpg"):
        assert any(name in path for path in one["wrote"]), name
    assert other["wrote"] == []
    assert [int(row["step"]) for row in rows(done / "saving")] == [1, 2, 3]
    assert set(files(done / "saving")) == {
        "losses.csv",
        "model.safetensors",
        "state.safetensors",
        "checkpoints/model_step_0000003.safetensors",
        *(f"samples/step_000000{step}.jpg" for step in (1, 2, 3)),
    }
    average = {name: value for name, value in other.items() if name.startswith("ema.")}
    saved = load_model(done / "saving" / "model.safetensors").state_dict()
    assert_same({f"ema.{name}": value for name, value in saved.items()}, average)


def test_a_folder_in_use_stops_both(done):
    for result in ranks(done, "locked"):
        assert result["error"].startswith("Another training is using ")


def test_a_folder_that_is_not_shared_stops_both(done):
    """Rank 1 would begin anew where rank 0 goes on."""
    for result in ranks(done, "apart"):
        assert result["error"] == (
            f"Rank 1 on {platform.node()} does not see what rank 0 wrote into "
            f"{done / 'apart'} of another machine; the run folder has to be on storage that all "
            "machines share, under the same name."
        )
    assert [path.name for path in (done / "apart").iterdir()] == [".lock"]


def test_ranks_that_are_started_unlike_stop_both(done):
    for result in ranks(done, "unlike"):
        assert result["error"] == (
            f"Rank 1 on {platform.node()} was started with lr = 1.0, and rank 0 with 0.0002; start "
            "all with the same options."
        )


@pytest.mark.parametrize("name", ["poison", "poison, read late"])
def test_a_loss_that_is_not_finite_on_one_stops_both(done, name):
    one, other = ranks(done, name)
    assert one["error"].startswith("Step 1: another process's loss is not finite")
    assert other["error"].startswith("Step 1: cycle_a is nan, so the weights were left")


def test_alone_nothing_needs_a_group():
    parameter = torch.nn.Parameter(torch.ones(2))
    parameter.grad = torch.tensor([1.0, 2.0])
    average_gradients([parameter])
    assert parameter.grad.tolist() == [1.0, 2.0]
    assert rank_and_world_size() == (0, 1)
    assert gather("me") == ["me"]
    for verdict in (True, False):
        assert any_rank(verdict, torch.device("cpu")) is verdict
        assert rank_0_says(verdict, torch.device("cpu")) is verdict
        assert bool(spread(torch.tensor(verdict))) is verdict


# --- evaluation --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["evaluated", "evaluated, read late"])
def test_rank_0_evaluates_and_stops_both_after_the_same_step(done, name):
    one, other = ranks(done, name)
    run = done / ORDERS[name][1]["run"]
    with (run / "scores.csv").open(newline="") as file:
        steps = [int(row["step"]) for row in csv.DictReader(file)]
    assert steps == list(range(2, one["step"] + 1, 2))
    assert one["step"] == other["step"] < 20
    assert_same(shared(one), shared(other))
    assert other["wrote"] == []
    assert load_model(run / "best.safetensors").training_info["steps"] == steps[-2]


def test_a_run_that_was_stopped_early_stays_where_it_is_on_both(done):
    before, now = ranks(done, "evaluated"), ranks(done, "stopped before")
    for one, other in zip(before, now, strict=True):
        assert one["step"] == other["step"]
        assert_same(shared(one), shared(other))


# --- torchrun ----------------------------------------------------------------------------------


def test_ctrl_c_on_one_stops_both_after_the_same_step(done):
    one, other = ranks(done, "stopped")
    assert (one["step"], other["step"]) == (3, 3)
    assert_same(shared(one), shared(other))
    assert [int(row["step"]) for row in rows(done / "stopped")] == [1, 2, 3]


def test_the_command_under_torchrun_goes_on_with_it_though_a_rank_is_killed(done, pictures):
    """Started again from the last state, both end where undisturbed ones do."""
    options = {
        **{"max-steps": 6, "save-every": 4, "sample-every": 100, "pool-size": 2},
        **{"model.base-channels": 2, "model.num-blocks": 1, "disc-channels": 2, "disc-layers": 1},
        **{"load-size": 18, "crop-size": 16, "run": done / "stopped", "device": "cpu"},
    }
    words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
    launch = ["torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    # Without --, torchrun would take our --run for an abbreviation of its own.
    launch += ["--local-addr", "127.0.0.1", "--max-restarts", "3"]
    launch += ["-m", "--", "tests.unit.training.killed_rank", "train"]
    process = subprocess.run(
        [sys.executable, "-m", *launch, pictures / "a", pictures / "b", *words, "--json"],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    said = [json.loads(line) for line in process.stdout.splitlines()]
    assert [line["step"] for line in said if "step" in line] == [6]
    errors = [line["error"] for line in said if "error" in line]
    assert errors[0].startswith("Rank 0 can't talk to the other processes of this training any mo")
    for step in (3, 4):
        assert process.stderr.count(f"Going on from step {step}.") == 1
    assert "Traceback" not in process.stderr
    for name in ("state.safetensors", "losses.csv", "model.safetensors"):
        assert content(done / "stopped" / name) == content(done / "long" / name), name


def test_several_machines_are_told_what_torchrun_needs_to_restart(monkeypatch, caplog):
    for name, value in {"WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2", "RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    assert own_meeting_place() == {}  # without torchrun, or without a store that is shared
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "True")
    for restarts, said in (("0", False), ("3", True)):
        monkeypatch.setenv("TORCHELASTIC_MAX_RESTARTS", restarts)
        assert own_meeting_place() == {}
        assert ("TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1" in caplog.text) is said

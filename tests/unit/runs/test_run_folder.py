"""What a run leaves on disk: every file, exact after any end."""

from __future__ import annotations

import json
import logging
import os
import platform
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from cyclegan_core import CycleGANError, UnpairedFolders, load_model
from cyclegan_core.errors import CheckpointError
from cyclegan_core.pictures.captions import caption_height, with_captions
from cyclegan_core.runs.run_folder import RunFolder
from cyclegan_core.training.trainer import Trainer

from ..folders import noise
from ..run_files import files, link, rows, run
from ..tiny import MODEL, assert_same, draw_folders, everything, make_config, open_folders

LINE = caption_height(16)
"""Pixels above a grid of 16-pixel pictures."""


def test_all_files(tmp_path, pictures):
    trainer = run(tmp_path / "run", pictures, sample_every=4, save_every=2, keep_checkpoints=2)
    assert set(files(tmp_path / "run")) == {
        "losses.csv",
        "model.safetensors",
        "state.safetensors",
        "checkpoints/model_step_0000004.safetensors",
        "checkpoints/model_step_0000006.safetensors",
        "samples/step_0000001.jpg",
        "samples/step_0000004.jpg",
        "samples/step_0000006.jpg",  # the last step's, whatever the interval
    }
    for name in ("model.safetensors", "checkpoints/model_step_0000006.safetensors"):
        model = load_model(tmp_path / "run" / name)
        assert_same(model.state_dict(), trainer.state.ema.state_dict())
        assert model.training_info["steps"] == 6
    assert (
        load_model(
            tmp_path / "run" / "checkpoints" / "model_step_0000004.safetensors"
        ).training_info["steps"]
        == 4
    )
    loaded = Trainer(trainer.config, trainer.data)
    loaded.load_state(tmp_path / "run" / "state.safetensors")
    assert_same(everything(loaded), everything(trainer))


def test_no_checkpoints_unless_wanted(tmp_path, pictures):
    run(tmp_path / "run", pictures, save_every=2)
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_losses(tmp_path, pictures):
    trainer = run(tmp_path / "run", pictures, save_every=4, lr_interval=1)
    table = rows(tmp_path / "run")
    assert list(table[0]) == ["step", "lr", *trainer.term_names]
    for number, (row, terms) in enumerate(zip(table, trainer.history, strict=True), start=1):
        assert int(row["step"]) == number
        assert float(row["lr"]) == pytest.approx(trainer.learning_rate(number), rel=1e-5)
        for name, term in zip(trainer.term_names, terms.tolist(), strict=True):
            assert float(row[name]) == pytest.approx(term, rel=1e-5)
    assert len(table) == 6
    assert len({row["lr"] for row in table}) > 1


def test_run_json(tmp_path, pictures):
    trainer = run(tmp_path / "run", pictures)
    said = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (said["step"], said["max_steps"], said["device"]) == (6, 6, "cpu")
    assert said["config"] == json.loads(json.dumps(trainer.config.to_dict()))
    assert said["data"]["digest"] == trainer.data.digest
    assert "3 pictures in" in said["data"]["a"]
    assert "4 pictures in" in said["data"]["b"]
    assert any("only 3 pictures" in warning for warning in said["data"]["warnings"])
    assert set(said["versions"]) == {"cyclegan", "torch"}
    assert said["seconds"] > 0
    before = said["seconds"]
    run(tmp_path / "run", pictures, max_steps=8)
    said = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (said["step"], said["max_steps"]) == (8, 8)
    assert said["seconds"] > before


def test_a_file_is_compared_with_others_once_in_a_session(tmp_path, monkeypatch):
    """Bitmaps of one size have to be read whole, and a large set takes minutes."""
    for domain in "ab":
        (tmp_path / domain).mkdir()
        for number in range(3):
            noise(number + 10 * (domain == "b"), (20, 20)).save(tmp_path / domain / f"{number}.bmp")
    (tmp_path / "b" / "copy.bmp").write_bytes((tmp_path / "a" / "1.bmp").read_bytes())
    read: Counter[Path] = Counter()
    read_bytes = Path.read_bytes

    def count(path: Path) -> bytes:
        read.update([path] if path.suffix == ".bmp" else [])
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", count)
    folders = UnpairedFolders(tmp_path / "a", tmp_path / "b", load_size=20, crop_size=16)
    str(folders.report())  # as the command and the node do first
    trainer = Trainer(make_config(save_every=2), folders)
    with RunFolder(tmp_path / "run", trainer, num_samples=1) as folder:
        trainer.run(on_step=folder.on_step)
    assert len(read) == 7
    assert set(read.values()) == {1}
    warnings = json.loads((tmp_path / "run" / "run.json").read_text())["data"]["warnings"]
    assert "1 files of A are in B too (1.bmp); a picture should show one domain only." in warnings


def test_samples_are_a_fixed_grid(tmp_path, pictures):
    """2 rows of a | fake_b | rec_a | b | fake_a | rec_b, 16 pixels each."""
    trainer = Trainer(make_config(lr=0.01, ema_decay=0.0), open_folders(pictures))
    folder = RunFolder(tmp_path / "run", trainer, num_samples=2)
    shown = folder.samples()
    assert torch.equal(folder.samples(), shown)
    trainer.run()
    before, after = shown[:, LINE:], folder.samples()[:, LINE:]
    other = Trainer(make_config(seed=5), open_folders(pictures))
    fresh = RunFolder(tmp_path / "run", other, num_samples=2).samples()[:, LINE:]
    assert before.shape == (3, 2 * 16, 6 * 16)
    assert before.min() >= 0
    assert before.max() <= 1
    for column, is_real in enumerate((True, False, False, True, False, False)):
        part = slice(16 * column, 16 * column + 16)
        for grid in (after, fresh):
            assert torch.equal(before[..., part], grid[..., part]) == is_real
    a, fake_b = before[None, :, :16, :16], before[:, :16, 16:32]
    trainer = Trainer(make_config(lr=0.01, ema_decay=0.0), open_folders(pictures))
    assert torch.equal(trainer.model.translate(a)[0], fake_b)
    assert torch.equal(trainer.model.translate(fake_b[None], "b_to_a")[0], before[:, :16, 32:48])
    assert not torch.equal(before[:, :16, :16], before[:, 16:, :16])


def test_samples_on_disk(tmp_path, pictures):
    trainer = Trainer(make_config(), open_folders(pictures))
    folder = RunFolder(tmp_path / "run", trainer, num_samples=3)
    assert folder.newest_samples is None
    path = folder.write_samples()
    assert path == folder.newest_samples == tmp_path / "run" / "samples" / "step_0000000.jpg"
    with Image.open(path) as image:
        assert image.size == (6 * 16, LINE + 3 * 16)


def test_the_last_step_has_samples_however_it_ends(tmp_path, pictures):
    """One at the end, one for a stop; none where nothing was trained."""
    path = tmp_path / "run"
    for steps, wanted in ((3, [1, 3]), (3, [1, 3]), (5, [1, 3, 5])):
        config = make_config(max_steps=steps, sample_every=100, save_every=steps)
        trainer = Trainer(config, open_folders(pictures))
        with RunFolder(path, trainer, num_samples=1) as folder:
            trainer.run(on_step=folder.on_step)
            folder.save()
            before = [file.stat().st_mtime_ns for file in sorted(path.glob("samples/*"))]
            folder.save()  # again, in vain
        names = sorted(file.name for file in path.glob("samples/*"))
        assert names == [f"step_{step:07d}.jpg" for step in wanted]
        assert [file.stat().st_mtime_ns for file in sorted(path.glob("samples/*"))] == before


def test_every_column_has_its_caption(tmp_path, pictures):
    """Dark letters on white above each picture and nowhere between; long names are cut."""
    names = {"domain_a": "photograph", "domain_b": "Wiese"}
    model = replace(MODEL, **names)
    trainer = Trainer(make_config(model=model), open_folders(pictures))
    folder = RunFolder(tmp_path / "run", trainer, num_samples=1)
    assert folder.captions == [
        *("photograph", "to Wiese", "and back"),
        *("Wiese", "to photograph", "and back"),
    ]
    grid = with_captions(torch.zeros(3, 7, 300), folder.captions, [50] * 6)
    line = grid[:, :-7]
    assert line.shape[1] == caption_height(50)
    assert torch.equal(grid[:, -7:], torch.zeros(3, 7, 300))
    ink = (line < 0.5).any(0).any(0).view(6, 50)
    assert ink.any(1).all()
    assert not ink[:, :3].any()
    assert not ink[:, -3:].any()


def test_samples_of_different_sizes_and_grey(tmp_path, pictures):
    draw_folders(tmp_path / "data", size=(20, 18))
    Image.new("L", (12, 32), 90).save(tmp_path / "data" / "a" / "tall.png")
    data = open_folders(tmp_path / "data", preprocess="none")
    grid = RunFolder(tmp_path, Trainer(make_config(), data), num_samples=4).samples()
    assert grid.shape[0] == 3
    assert grid.shape[1] > 4 * 16


# --- who may use it ----------------------------------------------------------------------------


def test_two_runs_cannot_share_a_folder(tmp_path, pictures):
    trainers = [Trainer(make_config(), open_folders(pictures)) for _ in range(2)]
    with RunFolder(tmp_path / "run", trainers[0]):
        with (
            pytest.raises(CycleGANError) as caught,
            RunFolder(tmp_path / "run", trainers[1]),
        ):
            pass
        assert str(caught.value) == (
            f"Another training is using {tmp_path / 'run'} (process {os.getpid()} on "
            f"{platform.node()}); wait for it, or name another run."
        )
    with RunFolder(tmp_path / "run", trainers[1]):
        pass


def test_one_that_was_started_again_waits_for_the_lock(tmp_path, pictures, monkeypatch, caplog):
    """As another machine's lock stays for a while when the machine is gone."""
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    trainers = [Trainer(make_config(), open_folders(pictures)) for _ in range(2)]
    first = RunFolder(tmp_path / "run", trainers[0]).__enter__()

    class LetGo(logging.Handler):
        def emit(self, record):
            first.__exit__(None, None, None)

    logger, handler = logging.getLogger("cyclegan_core.runs.run_lock"), LetGo()
    logger.addHandler(handler)
    try:
        with caplog.at_level(logging.INFO, logger.name), RunFolder(tmp_path / "run", trainers[1]):
            pass
    finally:
        logger.removeHandler(handler)
    assert caplog.messages == [f"Waiting for another training that uses {tmp_path / 'run'}."]


def test_storage_without_locks_has_one_writer_all_the_same(tmp_path, pictures):
    """The second one there takes over; the first one saves nothing any more."""
    trainers = [Trainer(make_config(max_steps=2), open_folders(pictures)) for _ in range(2)]
    with RunFolder(tmp_path / "run", trainers[0]) as first:
        trainers[0].run()
        (tmp_path / "run" / ".lock").unlink()  # the next lock is another file's
        with RunFolder(tmp_path / "run", trainers[1]):
            with pytest.raises(CycleGANError) as caught:
                first.save()
            assert str(caught.value) == (
                f"Another training has taken over {tmp_path / 'run'} (process {os.getpid()} on "
                f"{platform.node()}), whose storage knows no locks between machines; this one ends "
                "without writing there."
            )
            assert {path.name for path in (tmp_path / "run").iterdir()} <= {
                *(".lock", ".owner", "losses.csv")
            }


def test_a_state_that_does_not_fit_lets_go_of_the_lock(tmp_path, pictures):
    run(tmp_path / "run", pictures)
    other = Trainer(make_config(seed=1), open_folders(pictures))
    with (
        pytest.raises(CheckpointError, match="seed = 0, not 1") as caught,
        RunFolder(tmp_path / "run", other),
    ):
        pass
    run(tmp_path / "run", pictures, max_steps=7)  # while `caught` keeps the frames alive
    assert caught is not None


def test_a_folder_that_cannot_be_used(tmp_path, pictures):
    (tmp_path / "file").write_text("")
    with pytest.raises(CycleGANError, match=r"^The run folder .*run can't be used \(Not a dir"):
        run(tmp_path / "file" / "run", pictures)


@pytest.mark.parametrize(
    "name", [".lock", ".owner", "losses.csv", "samples/step_0000001.jpg", "checkpoints", "new/x"]
)
def test_what_a_stranger_packed_leads_nowhere_else(tmp_path, pictures, name):
    """A training would empty, replace or remove what such a link leads to."""
    path, theirs = tmp_path / "run", tmp_path / "theirs"
    run(path, pictures, max_steps=1)
    theirs.mkdir()
    (theirs / "model_step_0000000.safetensors").write_text("precious")
    target = theirs if name == "checkpoints" else theirs / "model_step_0000000.safetensors"
    if name == "new/x":  # nothing is written there
        (path / "new").mkdir()
        link(path / name, target)
        run(path, pictures)
        return
    (path / name).unlink(missing_ok=True)
    link(path / name, target)
    with pytest.raises(CycleGANError, match="is a link that leads out of the folder, to "):
        run(path, pictures, keep_checkpoints=1, save_every=1)
    assert [each.read_text() for each in theirs.iterdir()] == ["precious"]


def test_the_oldest_checkpoint_goes_whatever_its_digits(tmp_path, pictures):
    folder = tmp_path / "run" / "checkpoints"
    folder.mkdir(parents=True)
    for step in ("0000001", "10000000", "9999999"):
        (folder / f"model_step_{step}.safetensors").touch()
    run(tmp_path / "run", pictures, keep_checkpoints=2)
    assert {path.name for path in folder.iterdir()} == {
        "model_step_10000000.safetensors",
        "model_step_9999999.safetensors",
    }


def test_links_of_ones_own_are_followed(tmp_path, pictures):
    (tmp_path / "disk" / "big").mkdir(parents=True)
    link(tmp_path / "run", tmp_path / "disk")
    link(tmp_path / "disk" / "checkpoints", tmp_path / "run" / "big")
    run(tmp_path / "run", pictures, keep_checkpoints=1)
    assert len(list((tmp_path / "disk" / "big").iterdir())) == 1


def test_a_run_among_the_pictures_is_refused(tmp_path):
    """Its samples would be learned from when it goes on."""
    draw_folders(tmp_path)
    before = set(files(tmp_path))
    for side in ("a", "b"):
        trainer = Trainer(make_config(), open_folders(tmp_path))
        with pytest.raises(CycleGANError, match=r"run lies in .*; name a run outside"):
            RunFolder(tmp_path / side / "run", trainer).__enter__()
    assert set(files(tmp_path)) == before

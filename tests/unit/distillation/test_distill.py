"""From a teacher and a folder to a student: what it knows of itself, going on, what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from cyclegan_core import (
    CheckpointError,
    CycleGAN,
    CycleGANError,
    DatasetError,
    DistillConfig,
    ModelConfig,
    distill,
    inspect_checkpoint,
    load_model,
    read_picture,
    save_model,
)
from cyclegan_core.distillation import comparison
from cyclegan_core.distillation.pairs import Source, make_pairs
from cyclegan_core.progress import ignore

from ..checkpoint.foreign import scramble
from ..folders import fill, truncate
from ..run_files import link
from ..tiny import StopError

TEACHER = ModelConfig(base_channels=6, num_blocks=2, norm_affine=True, domain_b="painting")
TINY = DistillConfig(
    base_channels=4,
    num_blocks=1,
    crop_size=16,
    load_size=20,
    num_pairs=4,
    num_held_out=2,
    max_steps=4,
    batch_size=2,
    save_every=2,
)


def make_teacher(config: ModelConfig = TEACHER, **settings: Any) -> CycleGAN:
    teacher = CycleGAN(config, **settings).eval()
    scramble(teacher, 3)
    return teacher


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> Path:
    return fill(tmp_path_factory.mktemp("photographs"), 5)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, photographs):
    """A student's file, and how it was compared."""
    out = tmp_path_factory.mktemp("undisturbed") / "small.safetensors"
    report = distill(
        make_teacher(), photographs, out, config=TINY, teacher_name="big", license="mit"
    )
    return out, report


def test_the_student_says_where_it_comes_from(undisturbed) -> None:
    out, report = undisturbed
    info = inspect_checkpoint(out)
    assert (info.directions, info.dtype) == (("a_to_b",), "float16")
    assert (info.config.base_channels, info.config.num_blocks) == (4, 1)
    assert (info.config.domain_b, info.config.image_size) == ("painting", 256)
    assert {"teacher": "big", "license": "mit", "steps": 4}.items() <= info.metadata.items()
    assert len(info.metadata["data"]) == len(info.metadata["teacher_digest"]) == 64  # sha256
    # The report counts what the files hold, and can be written as JSON and as text.
    teacher = make_teacher().generator("a_to_b")
    counts = [sum(p.numel() for p in teacher.parameters()), info.num_parameters]
    assert report.to_dict() == json.loads(json.dumps(report.to_dict()))
    assert (report.to_dict()["parameters"], report.num_pictures) == (counts, 2)
    assert f"PSNR to the teacher {report.psnr:.2f} dB" in str(report)


def test_pairs_are_what_the_teacher_makes_of_the_same_crop(undisturbed) -> None:
    pairs = undisturbed[0].with_suffix(".distill") / "pairs"
    names = sorted(path.name for path in (pairs / "inputs").iterdir())
    assert names == sorted(path.name for path in (pairs / "outputs").iterdir())
    assert len(names) == TINY.num_pairs
    crop, output = (read_picture(pairs / part / names[1]).pixels for part in ("inputs", "outputs"))
    made = make_teacher().translate(crop[None])[0]
    assert float((made - output).abs().max()) <= 0.5 / 255 + 1e-6  # 8 bits per sample


@pytest.mark.parametrize("stage", ["pairs", "training", "comparison"])
def test_a_stopped_distillation_goes_on_to_the_same_student(
    tmp_path, photographs, undisturbed, stage
) -> None:
    def stop(*_: object) -> None:
        raise StopError

    out = tmp_path / "small.safetensors"
    told = {"teacher_name": "big", "license": "mit", "config": TINY}
    hooks = {"pairs": "on_pair", "training": "on_step", "comparison": "on_compare"}
    first = {hooks[stage]: stop}
    with pytest.raises(StopError):
        distill(make_teacher(), photographs, out, **told, **first)
    assert not out.exists()
    kept = out.with_suffix(".distill") / "pairs" / "outputs" / "000000.png"
    made_at = kept.stat().st_mtime_ns
    distill(make_teacher(), photographs, out, **told)
    assert kept.stat().st_mtime_ns == made_at
    ours, theirs = load_model(out), load_model(undisturbed[0])
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[name], tensor), name
    assert ours.training_info == theirs.training_info


def test_a_unet_teaches_the_way_back_to_a_fresh_student(tmp_path, photographs) -> None:
    teacher = make_teacher(ModelConfig(generator="unet", num_downs=5, base_channels=4))
    settings = {"base_channels": 2, "max_steps": 1, "num_pairs": 2, "direction": "b_to_a"}
    direction = settings.pop("direction")
    config = DistillConfig(**{name: getattr(TINY, name) for name in TINY.__slots__} | settings)
    out = tmp_path / "small.safetensors"
    distill(teacher, photographs, out, config=config, direction=direction)
    assert load_model(out).directions == ("b_to_a",)


def test_another_teacher_does_not_go_on_with_these_pairs(undisturbed, photographs) -> None:
    out = undisturbed[0]
    other = make_teacher()
    with torch.no_grad():
        next(other.parameters()).add_(1)
    with pytest.raises(CycleGANError, match=r"other settings \(teacher\); name another work"):
        distill(other, photographs, out, config=TINY)


@pytest.mark.parametrize(
    ("settings", "direction", "said"),
    [
        ({"num_blocks": 2}, "a_to_b", "num_blocks is 2"),
        ({"generator": "unet", "num_downs": 5}, "a_to_b", "generator is unet"),
        ({}, "b_to_a", "it does not translate a_to_b"),
    ],
)
def test_another_start_is_not_gone_on_with(tmp_path, photographs, settings, direction, said):
    """It would decide what the student is: a direction that it lacks begins fresh, unnoticed."""
    work = tmp_path / "small.distill"
    work.mkdir()
    config = replace(TEACHER, base_channels=4, num_blocks=1)
    other = CycleGAN(replace(config, **settings), directions=(direction,))
    save_model(other, work / "start.safetensors")
    with pytest.raises(CycleGANError, match=f"belongs to another student .*{said}"):
        distill(make_teacher(), photographs, tmp_path / "small.safetensors", config=TINY)


@pytest.mark.parametrize(
    "name",
    [
        *("pairs", "pairs/pairs.json", "pairs/inputs", "pairs/outputs/000000.png"),
        *("start.safetensors", "training", "training/samples", "training/state.safetensors"),
    ],
)
def test_what_a_stranger_packed_leads_nowhere_else(tmp_path, photographs, name):
    """Work would replace what such a link leads to, or learn from it."""
    out, theirs = tmp_path / "small.safetensors", tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "precious").write_text("precious")
    path = out.with_suffix(".distill") / name
    path.parent.mkdir(parents=True)
    link(path, theirs / "precious" if path.suffix else theirs)
    with pytest.raises(CycleGANError, match="is a link that leads out of the folder, to "):
        distill(make_teacher(), photographs, out, config=TINY)
    assert [each.read_text() for each in theirs.iterdir()] == ["precious"]
    assert not out.exists()


def test_links_of_ones_own_are_followed(tmp_path, photographs):
    (tmp_path / "disk" / "large").mkdir(parents=True)
    work = tmp_path / "small.distill"
    link(work, tmp_path / "disk")
    link(work / "pairs", work / "large")
    distill(make_teacher(), photographs, tmp_path / "small.safetensors", config=TINY)
    assert len(list((tmp_path / "disk" / "large" / "outputs").iterdir())) == TINY.num_pairs


def test_what_can_not_be_learned_is_refused_before_the_teacher_works(tmp_path, photographs) -> None:
    teacher = make_teacher(ModelConfig(base_channels=6, num_blocks=2, channels_b=4))
    for weight in (1.0, 0.0):
        config = replace(TINY, lambda_features=weight)
        with pytest.raises(CycleGANError, match=r"makes pictures of 4 channels from 3, and pairs"):
            distill(teacher, photographs, tmp_path / "small.safetensors", config=config)
    assert not [*tmp_path.iterdir()]


def test_the_face_offers_the_function_whatever_was_imported_before() -> None:
    """A module of the function's own name would hide it."""
    from cyclegan_core.distillation import WORK_SUFFIX
    from cyclegan_core.distillation import distill as found

    assert found is distill
    assert Path("small.safetensors").with_suffix(WORK_SUFFIX) == Path("small.distill")


def test_damaged_weights_of_the_measure_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged(_: int) -> None:
        raise CheckpointError("weights.bin does not fit its network.")

    monkeypatch.setattr(comparison, "LiteExtractor", damaged)
    model = CycleGAN(ModelConfig(base_channels=2, num_blocks=1))
    how = {"views": 1, "dtype": None, "on_progress": ignore}
    with pytest.raises(CheckpointError, match="does not fit its network"):
        comparison.compare(model, model, "a_to_b", [], **how)


@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2), (2, 4)])
def test_pairs_of_other_views_are_not_taken(before: int, after: int, tmp_path: Path) -> None:
    source = Source(fill(tmp_path / "in", 4), TINY, 3)
    config = replace(TINY, num_pairs=2)
    how = {"dtype": None, "on_progress": ignore}

    def make(views: int) -> None:
        again = replace(config, views=views)
        make_pairs(tmp_path / "pairs", source, make_teacher(), "a_to_b", again, **how)

    make(before)
    make(before)
    with pytest.raises(CycleGANError, match=r"other settings \(views\)"):
        make(after)


def test_work_among_the_pictures_is_refused(tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", 4)
    with pytest.raises(CycleGANError, match=r"small\.distill lies in .*in, where all"):
        distill(make_teacher(), folder, folder / "small.safetensors", config=TINY)
    assert len(list(folder.iterdir())) == 4


def test_held_out_pictures_that_are_all_damaged_are_told_first(tmp_path: Path) -> None:
    folder, out = fill(tmp_path / "in", 4, size=(90, 80)), tmp_path / "small.safetensors"
    truncate(folder / "002.png")
    truncate(folder / "003.png")
    with pytest.raises(DatasetError, match=r"no picture that is held out .*\.png is damaged"):
        distill(make_teacher(), folder, out, config=TINY)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]

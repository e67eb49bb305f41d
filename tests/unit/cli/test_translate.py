"""`cyclegan translate` and `cyclegan reconstruct`: the results, the report, the faults."""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
import torch._inductor.exc
from PIL import Image

from cyclegan_core import CycleGAN, load_model, read_picture
from cyclegan_core.cli.translate import Translate
from cyclegan_core.device.precision import NAMES, fastest_dtype
from cyclegan_core.hub.catalog import DEFAULT_MODEL, bundled_models
from cyclegan_core.pictures import picture

from ..commands import SMALL, Shell, draw, save


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    save(path)
    return path


CPU = ("--device", "cpu")
"""What is compared to the bit with the library's result is computed where that is."""
AUTO = fastest_dtype(torch.device("cpu"))
"""What the command takes on this machine; measured once per process."""


WAY = {"direction": "a_to_b"}


def translated(model: Path, source: Path, direction="a_to_b", dtype=AUTO):
    pixels = read_picture(source).pixels[None]
    return load_model(model).translate(pixels, direction, dtype=dtype)[0]


def same_levels(path: Path, pixels) -> bool:
    return (read_picture(path).pixels - pixels).abs().max() <= 0.5 / 255 + 1e-6


# --- pixels ------------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", ["a_to_b", "b_to_a"])
def test_the_file_is_the_librarys_result(run, model: Path, tmp_path: Path, direction) -> None:
    source = draw(tmp_path / "photo.png")
    argv = ("translate", source, "-o", tmp_path / "out", "-m", model, "-d", direction)
    result = run(*argv, *CPU)
    assert (result.code, result.out) == (0, "")
    assert same_levels(tmp_path / "out" / "photo.png", translated(model, source, direction))
    assert f"{source} → {tmp_path / 'out' / 'photo.png'}" in result.err


@pytest.mark.parametrize("work_size", ["12", "auto"])
def test_work_size_and_detail_are_the_librarys(
    run, model: Path, tmp_path: Path, work_size: str
) -> None:
    source = draw(tmp_path / "photo.png", size=(40, 30))
    argv = ("-o", tmp_path / "out", "-m", model, "--work-size", work_size, "--detail", "0.5")
    assert run("translate", source, *argv, *CPU, "--precision", "fp32").code == 0
    expected = load_model(model).translate(
        read_picture(source).pixels[None],
        work_size=int(work_size) if work_size != "auto" else "auto",
        detail=0.5,
    )
    # The file's rows come another way into memory: sums may differ in their last bits.
    assert same_levels(tmp_path / "out" / "photo.png", expected[0])


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("--work-size", "-1", "work_size must be a whole number of pixels from 0 up"),
        ("--work-size", "large", "--work-size"),
        ("--detail", "1.5", "detail must be a number from 0 to 1; got 1.5."),
        ("--strength", "-0.1", "strength must be a number from 0 to 1; got -0.1."),
        ("--strength", "nan", "strength must be a number from 0 to 1; got nan."),
    ],
)
def test_a_wrong_work_size_detail_or_strength(
    run, model: Path, tmp_path: Path, option: str, value: str, sentence: str
) -> None:
    source = draw(tmp_path / "photo.png")
    result = run("translate", source, "-o", tmp_path / "out", "-m", model, option, value)
    assert result.code == 2
    assert sentence in " ".join(result.err.split())
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("memory", ["whole", "streamed"])
def test_strength_blends_the_translation_over_the_original(
    run, model: Path, tmp_path: Path, memory: str
) -> None:
    source = draw(tmp_path / "photo.png", "RGBA", size=(40, 90))
    grey = draw(tmp_path / "grey.png", "L", size=(40, 30))
    for strength in (0.0, 0.5):
        out = tmp_path / f"{memory}{strength}"
        argv = ("-o", out, "-m", model, "--memory", memory, "--strength", strength)
        assert run("translate", source, grey, *argv, *CPU, "--precision", "fp32").code == 0
        for path in (source, grey):
            before, after = read_picture(path), read_picture(out / path.name)
            whole = translated(model, path, dtype=None)
            # Streamed sums may differ in their last bits, and so may what is rounded.
            wanted = torch.lerp(before.pixels, whole, strength)
            assert (after.pixels - wanted).abs().max() <= 0.5 / 255 + 1e-5
            assert (strength > 0) or torch.equal(after.pixels, before.pixels.expand(3, -1, -1))
        assert torch.equal(read_picture(out / "photo.png").alpha, read_picture(source).alpha)


def test_a_grey_translation_over_colours_is_coloured(run, tmp_path: Path) -> None:
    model = tmp_path / "m.safetensors"
    save(model, replace(SMALL, channels_b=1))
    source = draw(tmp_path / "x.png")
    argv = ("-o", tmp_path / "out", "-m", model, "--precision", "fp32", "--strength", "0.5")
    assert run("translate", source, *argv).code == 0
    wanted = (read_picture(source).pixels + translated(model, source, dtype=None)) / 2
    assert same_levels(tmp_path / "out" / "x.png", wanted)


def test_large_pictures_are_hinted_at_before_the_first(run, tmp_path: Path) -> None:
    """Their strokes can't be seen, and they take long: nobody should have to wait to learn that."""
    model = tmp_path / "m.safetensors"
    save(model, replace(SMALL, image_size=8))
    small, large = draw(tmp_path / "a.png", size=(90, 47)), draw(tmp_path / "b.png", size=(48, 90))
    argv = ("translate", "-o", tmp_path / "out", "-m", model, "--overwrite")
    first, second, *_ = run(*argv, small, large).err.splitlines()
    assert first.startswith("the model learned from pictures of 8 pixels: on ones as large as")
    assert "a.png" in second
    for others in ((small,), (large, "--work-size", "auto"), (large, "--dry-run")):
        assert "the model learned" not in run(*argv, *others).err


def test_options_may_stand_before_the_pictures(run, model: Path, tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    draw(tmp_path / "b.png")
    argv = ("translate", "--model", model, "--out", tmp_path / "out", "--json")
    assert run(*argv, tmp_path / "a.png", tmp_path / "b.png").code == 0
    assert len(list((tmp_path / "out").iterdir())) == 2


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_alpha_is_kept(run, model: Path, tmp_path: Path, suffix: str) -> None:
    options = {"lossless": True} if suffix == ".webp" else {}
    source = draw(tmp_path / f"x{suffix}", "RGBA", **options)
    assert run("translate", source, "-o", tmp_path / "out", "-m", model, *CPU).code == 0
    result = read_picture(tmp_path / "out" / f"x{suffix}")
    assert torch.equal(result.alpha, read_picture(source).alpha)
    if suffix != ".webp":
        assert same_levels(tmp_path / "out" / f"x{suffix}", translated(model, source))


def test_the_orientation_is_honoured_once(run, model: Path, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    source = draw(tmp_path / "x.png", size=(13, 9), exif=exif)
    assert run("translate", source, "-o", tmp_path / "out", "-m", model, *CPU).code == 0
    with Image.open(tmp_path / "out" / "x.png") as result:
        assert result.size == (9, 13)
        assert result.getexif().get(0x0112, 1) == 1
    assert same_levels(tmp_path / "out" / "x.png", translated(model, source))


def test_a_profile_stays_with_its_colours(run, tmp_path: Path) -> None:
    save(tmp_path / "m.safetensors", replace(SMALL, channels_b=1))
    source = draw(tmp_path / "x.png", icc_profile=b"colours")
    for way, profile in (("a_to_b", None), ("b_to_a", b"colours")):
        out = tmp_path / way
        assert (
            run("translate", source, "-o", out, "-m", tmp_path / "m.safetensors", "-d", way).code
            == 0
        )
        assert read_picture(out / "x.png").icc_profile == profile


def test_unusual_pictures_are_said(run, model: Path, tmp_path: Path) -> None:
    draw(tmp_path / "in" / "grey.png", "L")
    draw(tmp_path / "in" / "deep.png", "I;16")
    draw(tmp_path / "in" / "film.gif", "P", save_all=True, append_images=[Image.new("P", (13, 9))])
    result = run("translate", tmp_path / "in", "-o", tmp_path / "out", "-m", model)
    assert result.code == 0
    lines = result.err.splitlines()
    for name, notes in [
        ("deep.png", "(grey, 16-bit) →"),
        ("film.gif", "(first of 2 frames) →"),
        ("grey.png", "(grey) →"),
    ]:
        assert any(f"{name} {notes}" in line for line in lines)
    assert len(read_picture(tmp_path / "out" / "grey.png").pixels) == 3
    assert (tmp_path / "out" / "film.png").exists()


@pytest.mark.parametrize("precision", ["auto", "fp32", "bf16", "fp16"])
def test_precision(run, model: Path, tmp_path: Path, precision: str) -> None:
    source = draw(tmp_path / "x.png")
    argv = ("translate", source, "-o", tmp_path / "out", "-m", model, "--device", "cpu")
    assert run(*argv, "--precision", precision).code == 0
    dtype = {"auto": AUTO, "bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)
    expected = load_model(model).translate(read_picture(source).pixels[None], dtype=dtype)[0]
    assert same_levels(tmp_path / "out" / "x.png", expected)


@pytest.mark.parametrize("precision", ["auto", "fp16"])
def test_the_precision_that_was_taken_is_told(run, model: Path, tmp_path, precision: str) -> None:
    source = draw(tmp_path / "x.png")
    argv = ("translate", source, "-o", tmp_path / "out", "-m", model, "--device", "cpu")
    taken = NAMES[AUTO] if precision == "auto" else precision
    argv += ("--precision", precision, "--overwrite")
    assert run(*argv, "--json").json["precision"] == taken
    assert (f"computed in {taken}, the fastest" in run(*argv).err) == (precision == "auto")


def test_two_files_make_one_model(run, model: Path, tmp_path: Path) -> None:
    both = load_model(model)
    for key in ("gen_ab", "gen_ba"):
        torch.save(getattr(both, key).state_dict(), tmp_path / f"{key}.pth")
    source = draw(tmp_path / "x.png")
    argv = ("translate", source, "-m", tmp_path / "gen_ab.pth")
    argv += ("--model-b-to-a", tmp_path / "gen_ba.pth", *CPU)
    for direction in ("a_to_b", "b_to_a"):
        assert run(*argv, "-o", tmp_path / direction, "-d", direction).code == 0
        expected = translated(model, source, direction)
        assert same_levels(tmp_path / direction / "x.png", expected)
    # A nameless generator alone goes the way it is asked for.
    argv = ("translate", source, "-m", tmp_path / "gen_ba.pth", "-d", "b_to_a", *CPU)
    assert run(*argv, "-o", tmp_path / "alone").code == 0
    assert same_levels(tmp_path / "alone" / "x.png", translated(model, source, "b_to_a"))


def test_the_only_way_of_a_model_is_taken(run, tmp_path: Path) -> None:
    save(tmp_path / "m.safetensors", directions=["b_to_a"])
    source = draw(tmp_path / "x.png")
    argv = ("translate", source, "-o", tmp_path / "out", "-m", tmp_path / "m.safetensors", "--json")
    result = run(*argv, *CPU)
    assert (result.code, result.json["direction"]) == (0, "b_to_a")
    expected = translated(tmp_path / "m.safetensors", source, "b_to_a")
    assert same_levels(tmp_path / "out" / "x.png", expected)


# --- defaults ----------------------------------------------------------------------------------


def test_a_picture_alone_is_enough(run, tmp_path: Path, monkeypatch) -> None:
    """The bundled model, and a folder beside the picture, wherever the shell is."""
    monkeypatch.chdir(tmp_path)
    draw(Path("far/photo.png"), size=(20, 16))
    for name in ("a.png", "deep/b.png"):
        draw(Path("photos") / name, size=(20, 16))
    before = Path("far/photo.png").read_bytes()
    assert run("translate", "far/photo.png", "photos", *CPU).code == 0
    made = sorted(path.as_posix() for path in Path().rglob("painted/**/*.png"))
    assert made == ["far/painted/photo.png", "photos/painted/a.png", "photos/painted/deep/b.png"]
    bundled = bundled_models()[DEFAULT_MODEL]
    assert same_levels(Path("far/painted/photo.png"), translated(bundled, "far/photo.png"))
    assert Path("far/photo.png").read_bytes() == before
    # Once more, the results are not taken for pictures, nor replaced.
    result = run("translate", "photos")
    assert result.code == 1
    exists = "exists (--overwrite replaces it, -o writes elsewhere)"
    assert result.err.splitlines() == [
        f"left alone: photos/painted/a.png {exists}",
        f"left alone: photos/painted/deep/b.png {exists}",
        "2 pictures, 1 s, 0 failed, 2 left alone",
    ]
    # A mistyped model is said before that, for no result of it is there.
    result = run("translate", "photos", "-m", "photo2monte")
    assert (result.code, result.err.count("\n")) == (1, 1)
    assert "did you mean photo2monet?" in result.err
    assert run("translate", "photos", "--skip-existing").err.splitlines() == [
        "photos/a.png → photos/painted/a.png exists already: skipped",
        "photos/deep/b.png → photos/painted/deep/b.png exists already: skipped",
        "2 pictures, 1 s, 0 failed, 2 skipped",
    ]


def test_reconstruct_knows_a_pair(run, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    draw(Path("photo.png"), size=(20, 16))
    result = run("reconstruct", "photo.png", "--json")
    assert (result.code, result.json["model"]) == (0, "photo2monet")
    assert [path.name for path in sorted(Path("painted").iterdir())] == [
        f"photo_{part}.png" for part in ("error", "reconstructed", "translated")
    ]


# --- what is done and what is not --------------------------------------------------------------


def test_skip_existing_does_the_rest(run, model: Path, tmp_path: Path) -> None:
    files = [draw(tmp_path / "in" / f"{name}.png") for name in "abc"]
    out = tmp_path / "out"
    argv = ("translate", tmp_path / "in", "-o", out, "-m", model)
    assert run("translate", files[1], "-o", out, "-m", model).code == 0
    (out / "b.png").write_bytes(b"precious")
    result = run(*argv, "--skip-existing")
    assert result.code == 0
    assert re.fullmatch(r"3 pictures, \d+ s, 0 failed, 1 skipped", result.err.splitlines()[-1])
    assert (out / "b.png").read_bytes() == b"precious"
    assert sorted(path.name for path in out.iterdir()) == ["a.png", "b.png", "c.png"]
    report = run(*argv, "--skip-existing", "--json").json
    assert (report["failed"], report["skipped"], report["device"]) == (0, 3, None)
    assert report["pictures"][1] == {
        "input": str(files[1]),
        "output": str(out / "b.png"),
        "skipped": True,
    }
    result = run(*argv, "--skip-existing", "--overwrite")
    assert result.code == 2
    assert "contradict each other" in result.err
    # An input is no result of an earlier run.
    result = run("translate", files[0], "-o", tmp_path / "in", "-m", model, "--skip-existing")
    assert result.code == 1
    assert "is one of the pictures to translate" in result.err


def test_a_dry_run_writes_nothing(run, model: Path, tmp_path: Path) -> None:
    source, missing = draw(tmp_path / "a.png"), tmp_path / "no.png"
    argv = ("translate", source, missing, "-o", tmp_path / "out", "-m", model, "--dry-run")
    result = run(*argv)
    assert result.code == 1
    assert result.err.splitlines() == [
        f"{source} → {tmp_path / 'out' / 'a.png'}",
        f"not found: {missing} does not exist; check the path.",
        "1 picture, nothing was written, 0 failed, 1 not found",
    ]
    report = run(*argv, "--json").json
    assert report["dry_run"] is True
    assert report["pictures"][0] == {"input": str(source), "output": str(tmp_path / "out/a.png")}
    assert list(tmp_path.iterdir()) == [source]
    result = run("translate", source, "-m", "photo2mone", "--dry-run")
    assert (result.code, "did you mean photo2monet?" in result.err) == (1, True)


def test_what_is_missing_is_said_before_a_model_is_loaded(run, tmp_path: Path) -> None:
    source, missing = draw(tmp_path / "a.png"), tmp_path / "no.png"
    (tmp_path / "bad.pth").write_text("no model")
    result = run("translate", missing, source, "-m", tmp_path / "bad.pth")
    assert result.code == 1
    first, second = result.err.splitlines()
    assert first == f"not found: {missing} does not exist; check the path."
    assert "bad.pth" in second
    for extra in ((), ("--json",)):  # and if nothing is left to do, the model is not looked at
        result = run("translate", missing, "-m", tmp_path / "bad.pth", *extra)
        assert result.code == 1
        assert "bad.pth does not" not in result.err
    report = run("translate", missing, "-m", tmp_path / "bad.pth", "--json").json
    assert (report["failed"], report["pictures"][0]["not_found"]) == (1, True)


def test_what_is_no_picture_is_said_before_a_model_is_loaded(run, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    result = run("translate", tmp_path / "notes.txt", "-m", tmp_path / "no.pth")
    assert result.code == 1
    failed, last = result.err.splitlines()
    reason = "is not a picture that can be read here; save it as PNG or JPEG."
    assert failed == f"failed: {tmp_path / 'notes.txt'} {reason}"
    assert last.endswith("1 failed")


@pytest.mark.parametrize(("command", "columns"), [("translate", 2), ("reconstruct", 3)])
def test_a_sheet_of_before_and_after(run, model: Path, tmp_path: Path, command, columns) -> None:
    white = tmp_path / "in" / "white.png"
    white.parent.mkdir()
    Image.new("RGB", (32, 16), (255, 255, 255)).save(white)
    draw(tmp_path / "in" / "clear.png", "RGBA", size=(16, 32))
    sheet = tmp_path / "sheet.png"
    argv = (command, tmp_path / "in", "-o", tmp_path / "out", "-m", model, "--compare", sheet)
    result = run(*argv)
    assert result.code == 0
    assert f"before and after: {sheet}" in result.err
    with Image.open(sheet) as image:
        # All are equally wide and stand close together, whatever their shape.
        assert image.size == (columns * 516 - 4, 16 + 1024 + 4 + 256)
        # The second row begins with the white picture.
        assert image.convert("RGB").getpixel((256, 16 + 1028 + 128)) == (255, 255, 255)
        after = image.convert("RGB").getpixel((516 + 256, 16 + 1028 + 128))
    name = "white.png" if command == "translate" else "white_translated.png"
    with Image.open(tmp_path / "out" / name) as made:
        centre = made.convert("RGB").getpixel((16, 8))
    assert max(abs(a - b) for a, b in zip(after, centre, strict=True)) < 40  # resized in between
    result = run(*argv, "--skip-existing")
    assert (result.code, f"{sheet} exists; add --overwrite" in result.err) == (1, True)
    result = run(command, white, "-m", model, "--compare", "sheet.txt")
    assert (result.code, "--compare sheet.txt can't be written" in result.err) == (2, True)


# --- reconstruct -------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(1, 3000), (3000, 1)])
@pytest.mark.parametrize("memory", ["whole", "streamed", "thumbnail"])
def test_lines_of_pixels(run, model: Path, tmp_path: Path, size, memory: str) -> None:
    source = draw(tmp_path / "line.png", size=size)
    sheet = tmp_path / "sheet.png"
    argv = ("-o", tmp_path / "out", "-m", model, "--memory", memory, "--compare", sheet)
    result = run("translate", source, *argv)
    assert result.code == 0, result.err
    with Image.open(tmp_path / "out" / "line.png") as made:
        assert made.size == size
    assert sheet.is_file()


def test_reconstruct_writes_three_files_and_a_number(run, model: Path, tmp_path: Path) -> None:
    source = draw(tmp_path / "x.jpg", quality=95)
    argv = ("reconstruct", source, "-o", tmp_path / "out", "-m", model, *CPU)
    report = run(*argv, "--json").json
    pixels = read_picture(source).pixels[None]
    expected = load_model(model).reconstruct(pixels, dtype=AUTO)
    (entry,) = report["pictures"]
    assert entry["cycle_error"] == pytest.approx(float(expected.error.mean()), abs=1e-5)
    names = [f"x_{part}.jpg" for part in ("translated", "reconstructed", "error")]
    assert entry["outputs"] == [str(tmp_path / "out" / name) for name in names]
    for name, pixels in zip(names, (expected.fake, expected.rec, expected.error), strict=True):
        written = read_picture(tmp_path / "out" / name).pixels
        assert (written - pixels[0]).abs().mean() < 0.05  # JPEG
    result = run(*argv, "--overwrite")
    made = f"{tmp_path / 'out' / names[0]}, {names[1]}, {names[2]}"
    assert f"{source} → {made} (cycle error {entry['cycle_error']})" in result.err


def test_reconstruct_completes_what_was_cut_off(run, model: Path, tmp_path: Path) -> None:
    """A kill between the three files of a picture; those that are there stay."""
    source, out = draw(tmp_path / "x.png"), tmp_path / "out"
    argv = ("reconstruct", source, "-o", out, "-m", model)
    assert run(*argv).code == 0
    wanted = (out / "x_error.png").read_bytes()
    (out / "x_error.png").unlink()
    (out / "x_reconstructed.png").write_bytes(b"precious")
    result = run(*argv)
    assert f"left alone: {out / 'x_translated.png'} exists (--overwrite" in result.err
    result = run(*argv, "--skip-existing")
    assert (result.code, "skipped" in result.err) == (0, False)
    assert (out / "x_error.png").read_bytes() == wanted
    assert (out / "x_reconstructed.png").read_bytes() == b"precious"
    assert "skipped" in run(*argv, "--skip-existing").err


def test_reconstruct_needs_both_generators_and_a_folder(run, model: Path, tmp_path: Path) -> None:
    save(tmp_path / "one.safetensors", directions=["a_to_b"])
    source = draw(tmp_path / "x.png")
    argv = ("reconstruct", source, "-m", tmp_path / "one.safetensors", "-o", tmp_path / "out")
    result = run(*argv)
    assert result.code == 1
    assert "only translates A→B; load a second file for B→A" in result.err
    result = run("reconstruct", source, "-o", tmp_path / "out.png", "-m", model)
    assert result.code == 2
    assert "there are several results; give a folder" in result.err
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "out.png").exists()


# --- the report --------------------------------------------------------------------------------


def test_json_is_all_that_is_printed(run, model: Path, tmp_path: Path) -> None:
    good, grey = draw(tmp_path / "good.png"), draw(tmp_path / "grey.png", "L", (4, 6))
    bad = tmp_path / "bad.png"
    bad.write_text("no picture")
    argv = (good, bad, grey, "-o", tmp_path / "out", "-m", model, "--device", "cpu", "--json")
    result = run("translate", *argv)
    assert (result.code, result.err, result.out.count("\n")) == (1, "", 1)
    report = result.json
    assert {
        key: report[key] for key in ("model", "direction", "device", "precision", "failed")
    } == {
        "model": str(model),
        "direction": "a_to_b",
        "device": "cpu",
        "precision": NAMES[AUTO],
        "failed": 1,
    }
    first, second, third = report["pictures"]
    assert first["output"] == str(tmp_path / "out" / "good.png")
    assert (first["size"], first["notes"]) == ([13, 9], [])
    assert first["seconds"] >= 0
    assert second == {
        "input": str(bad),
        "error": f"{bad} is not a picture that can be read here; save it as PNG or JPEG.",
    }
    assert (third["size"], third["notes"]) == ([4, 6], ["grey"])


@pytest.mark.parametrize(
    ("argv", "code", "sentence"),
    [
        (
            ("translate", "x.png", "-o", "out", "-m", "no.pth"),
            1,
            "There is no model 'no.pth'",
        ),
        (("translate", "x.png", "-o", "out", "-m", ""), 1, "The name of a model is empty"),
        (("translate", "x.png", "-o", "out", "-m", "x.png"), 1, "x.png is "),
        (("translate", "-o", "out", "-m", "M"), 2, "no pictures were named"),
        (("translate", "", "-o", "out", "-m", "M"), 2, "the name of a picture is empty"),
        (("translate", "x.png", "-o", "o.gif", "-m", "M"), 2, "o.gif can't be written; use .bmp,"),
        (("translate", "x.png", "-o", "o.pdf"), 2, "o.pdf ends like a file, but not like a pic"),
        (("translate", "x.png", "x.png", "-o", "o.png", "-m", "M"), 2, "there are 2 pictures"),
        (
            ("translate", "x.png", "-o", "o", "-m", "M", "--device", "abacus"),
            2,
            "'abacus' can't",
        ),
        (("translate", "x.png", "-o", "o", "-m", "M", "--device", "meta"), 2, "'meta' can't be"),
        (("translate", "x.png", "-o", "o", "-m", "M", "--device", "hpu"), 2, "'hpu' can't be"),
        (("translate", "x.png", "-o", "o", "-m", "M", "--device", "cuda:99"), 2, "can't be used"),
    ],
)
def test_faults_are_one_sentence(run, model, tmp_path, monkeypatch, argv, code, sentence) -> None:
    monkeypatch.chdir(tmp_path)
    draw(tmp_path / "x.png")
    words = [str(model) if word == "M" else word for word in argv]
    result = run(*words)
    assert (result.code, result.out) == (code, "")
    assert result.err.startswith("cyclegan: ")
    assert sentence in result.err
    assert result.err.count("\n") == 1
    result = run(*words, "--json")
    assert (result.code, result.err) == (code, "")
    assert sentence in result.json["error"]
    assert [path.name for path in tmp_path.iterdir()] == ["x.png"]


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (("paint",), "paint"),
        (("translate", "x.png", "-o", "out", "-m", "M", "--colour", "red"), "--colour"),
        (("translate", "x.png", "--detal", "0"), "no option --detal: did you mean --detail? See"),
        (("translate", "x.png", "--work-size", "atuo"), "whole number or auto; got 'atuo': did yo"),
        (("translate", "x.png", "--detail", "x"), "--detail takes a number; got 'x'; see"),
        (("translate", "x.png", "-o"), "-o/--out needs a value; see `cyclegan translate --help`."),
        (("translate", "x.png", "-o", "out", "-m", "M", "--direction", "up"), "up"),
        (("translate", "x.png", "-o", "out", "-m", "M", "--precision", "int8"), "int8"),
        (("info",), "MODEL is missing; see `cyclegan info --help`."),
        (("convert", "a.pth"), "--out PATH is missing"),
    ],
)
def test_a_command_line_that_makes_no_sense(run, argv, expected: str) -> None:
    result = run(*argv)
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    assert expected in result.err
    if argv[-1] != "-o" and argv[0] != "paint":
        result = run(*argv, "--json")
        assert (result.code, result.err) == (2, "")
        assert expected in result.json["error"]


def test_a_direction_that_is_not_there_is_said_once(run, tmp_path: Path) -> None:
    save(tmp_path / "m.safetensors", directions=["b_to_a"])
    files = [draw(tmp_path / f"{name}.png") for name in "abc"]
    argv = ("translate", *files, "-o", tmp_path / "out", "-m", tmp_path / "m.safetensors")
    result = run(*argv, "-d", "a_to_b")
    assert (result.code, result.err.count("\n")) == (1, 1)
    assert "only translates B→A (zebra → horse), not A→B; choose the other dir" in result.err


def test_a_picture_too_large_for_the_memory_is_named(tmp_path: Path, monkeypatch) -> None:
    """The real thing would need all of this machine's memory, so the network says it."""
    source = draw(tmp_path / "x.png")
    command = Translate(inputs=(), out=tmp_path, model="m")
    for error in (torch.OutOfMemoryError("CUDA out of memory"), MemoryError()):
        model = CycleGAN(SMALL)
        model.gen_ab.register_forward_pre_hook(lambda *_, error=error: _raise(error))
        entry = command._do_one(model, (source, tmp_path / "y.png"), (), WAY | {"memory": "whole"})
        assert entry["error"].startswith(f"{source}: A picture of 13×9 needs ")
        assert "choose memory 'auto' or 'streamed'" in entry["error"]
        with monkeypatch.context() as patch:
            patch.setattr(picture, "open_picture", lambda *_, error=error, **__: _raise(error))
            entry = command._do_one(model, (source, tmp_path / "y.png"), (), WAY)
        assert entry["error"].startswith(f"{source} needs more memory than there is (cpu)")
        assert list(tmp_path.iterdir()) == [source]


def test_other_errors_of_the_network_are_not_hidden(tmp_path: Path) -> None:
    model = CycleGAN(SMALL)
    model.gen_ab.register_forward_pre_hook(lambda *_: _raise(RuntimeError("a bug")))
    job = (draw(tmp_path / "x.png"), tmp_path / "y.png")
    with pytest.raises(RuntimeError, match="a bug"):
        Translate(inputs=(), out=tmp_path, model="m")._do_one(model, job, (), WAY)


def test_a_missing_compiler_is_said_once_for_all_pictures(
    run, model, tmp_path, monkeypatch
) -> None:
    def no_compiler(*_: object) -> None:
        raise torch._inductor.exc.InvalidCxxCompiler

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=no_compiler))
    for name in ("a.png", "b.png"):
        draw(tmp_path / "in" / name)
    argv = ("translate", tmp_path / "in", "-o", tmp_path / "out", "-m", model, "--device", "cpu")
    result = run(*argv, "--speedup", "compile")
    assert result.code == 1
    assert result.err.count("The networks can't be compiled here") == 1
    assert "do without compile" in result.err


def _raise(error: BaseException) -> None:
    raise error


def test_a_fall_back_is_said(run, tmp_path: Path, caplog) -> None:
    model = save(tmp_path / "m.safetensors")
    with torch.no_grad():
        model.gen_ab.model[1].weight.mul_(1e6)
    model.save_pretrained(tmp_path / "m")
    source = draw(tmp_path / "x.png")
    argv = ("translate", source, "-o", tmp_path / "out", "-m", tmp_path / "m")
    with caplog.at_level(logging.WARNING):
        assert run(*argv, "--precision", "fp16", "--device", "cpu").code == 0
    assert [record.getMessage()[:26] for record in caplog.records] == ["A result in torch.float16 "]
    exact = translated(tmp_path / "m", source, dtype=torch.float32)
    assert same_levels(tmp_path / "out" / "x.png", exact)

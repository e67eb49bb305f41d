"""Which pictures a command takes, how the results are called, and what is never replaced."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from cyclegan_core import PictureError
from cyclegan_core.cli.outputs import plan_outputs

from ..commands import Shell, draw, save
from ..pictures.test_bad import as_ordinary_user

OUT = Path("out")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to be in, with pictures and other things."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "b.jpg", "c.JPG", "in/d.png", "in/deep/e.webp", "in/deep/f.gif"):
        draw(Path(name), "P" if name.endswith("gif") else "RGB")
    for name in ("notes.txt", "in/notes.txt", "in/.hidden.png", "in/._d.png", "in/.git/g.png"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text("no picture")
    Path("in/holiday.png").mkdir()
    Path("in/empty").mkdir()
    return tmp_path


def plan(*inputs: str, out: Path = OUT, **options) -> dict[str, str]:
    """Source -> target or fault, as text."""
    return {str(source): str(target) for source, target in plan_outputs(inputs, out, **options)}


def test_files_keep_their_names(here: Path) -> None:
    assert plan("a.png", "in/d.png", str(here / "c.JPG")) == {
        "a.png": "out/a.png",
        "in/d.png": "out/d.png",
        f"{here}/c.JPG": "out/c.JPG",
    }


def test_folders_keep_their_structure_and_hidden_things_stay_hidden(here: Path) -> None:
    expected = {
        "in/d.png": "out/d.png",
        "in/deep/e.webp": "out/deep/e.webp",
        "in/deep/f.gif": "out/deep/f.png",  # not written as GIF
    }
    assert plan("in") == expected
    assert list(plan("in")) == list(plan("in/")) == list(expected)


def test_without_a_folder_results_lie_beside(here: Path) -> None:
    assert plan("a.png", str(here / "c.JPG"), "in/*.png", "in/deep", out=None) == {
        "a.png": "painted/a.png",
        f"{here}/c.JPG": f"{here}/painted/c.JPG",
        "in/d.png": "in/painted/d.png",
        "in/deep/e.webp": "in/deep/painted/e.webp",
        "in/deep/f.gif": "in/deep/painted/f.png",
    }
    draw(Path("in/painted/d.png"))
    assert "in/painted/d.png" not in plan("in", out=None)


def test_globs(here: Path) -> None:
    assert plan("*.jpg", "in/*/*.gif") == {"b.jpg": "out/b.jpg", "in/deep/f.gif": "out/f.png"}
    assert set(plan(f"{here}/in/**/*.webp")) == {f"{here}/in/deep/e.webp"}
    assert plan("*.tif") == {"*.tif": "*.tif matches no file; check the pattern."}
    assert plan("in/e*") == {"in/e*": "in/e* matches no file; check the pattern."}  # a folder only
    draw(Path("odd[1].png"))
    assert plan("odd[1].png") == {"odd[1].png": "out/odd[1].png"}


def test_one_file_to_one_name(here: Path) -> None:
    assert plan("a.png", out=Path("x/y.webp")) == {"a.png": "x/y.webp"}
    assert plan("in/*.png", "in/*.png", out=OUT).keys() == {"in/d.png"}  # named twice, done once
    Path("out.png").mkdir()
    assert plan("a.png", out=Path("out.png")) == {"a.png": "out.png/a.png"}
    Path("out.pdf").mkdir()  # a folder, for it is there
    for folder in ("out.pdf", "out.v2", "out.2026", "v1.0"):
        assert plan("a.png", out=Path(folder)) == {"a.png": f"{folder}/a.png"}
    with pytest.raises(ValueError, match=r"y\.png names one file, but there are 2 pictures"):
        plan("a.png", "b.jpg", out=Path("y.png"))


def test_clashes_are_named(here: Path) -> None:
    draw(Path("other/a.png"))
    draw(Path("other/f.png"))
    clash = "would both become out/a.png; translate them apart."
    assert plan("a.png", "other/a.png") == {
        "a.png": "out/a.png",
        "other/a.png": f"other/a.png and a.png {clash}",
    }
    assert "would both become out/f.png" in plan("in/deep/f.gif", "other/f.png")["other/f.png"]
    assert plan("a.png", str(here / "a.png")) == {"a.png": "out/a.png"}


def test_what_is_not_there(here: Path) -> None:
    assert plan("no.png", "in/no.png", "in/empty", "notes.txt/x.png") == {
        "no.png": "no.png does not exist; check the path.",
        "in/no.png": "in/no.png does not exist; check the path.",
        "in/empty": "in/empty holds no pictures; choose another folder.",
        "notes.txt/x.png": "notes.txt/x.png can't be read: Not a directory.",
    }
    assert "File name too long" in plan("x" * 300)["x" * 300]
    assert "null" in plan("x\0y")["x\0y"]


def test_earlier_results_are_not_translated_again(here: Path) -> None:
    before = plan("in", out=Path("in/zebra"))
    draw(Path("in/zebra/d.png"))
    assert plan("in", out=Path("in/zebra")) == before
    assert "in/zebra/d.png" in plan("in", out=OUT)
    assert "in/d.png" in plan("in", out=Path("in"))


def test_circles_of_links_end(here: Path) -> None:
    before = plan("in")
    Path("in/deep/loop").symlink_to(here / "in", target_is_directory=True)
    assert plan("in") == before
    Path("in/linked").symlink_to(here / "in" / "deep", target_is_directory=True)
    assert len(plan("in")) == len(before)


def test_a_circle_of_files_is_named(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(here / "m.safetensors")
    Path("in/one.png").symlink_to("two.png")
    Path("in/two.png").symlink_to("one.png")
    result = Shell(capsys)(
        "translate", "in/one.png", "in/d.png", "-m", "m.safetensors", "-o", "out"
    )
    assert result.code == 1
    (line,) = [line for line in result.err.splitlines() if line.startswith("failed: ")]
    assert line.startswith("failed: in/one.png can't be read: ")


def test_a_kind_that_pillow_does_not_read_is_named(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A photograph of a telephone; Pillow alone reads AVIF, but not HEIC."""
    save(here / "m.safetensors")
    Path("x.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(500))
    result = Shell(capsys)("translate", "x.heic", "-m", "m.safetensors", "-o", "out")
    assert result.code == 1
    assert (
        "failed: x.heic is not a picture that can be read here; save it as PNG or JPEG."
        in result.err
    )


def test_places_without_permission_are_named() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for place in ("in/open", "in/shut"):
            draw(folder / place / "x.png")
        (folder / "in" / "shut").chmod(0)
        with as_ordinary_user(folder):
            jobs = dict(plan_outputs([f"{folder}/in", f"{folder}/in/shut/x.png"], OUT))
        (folder / "in" / "shut").chmod(0o700)
    assert jobs.pop(folder / "in" / "open" / "x.png") == OUT / "open" / "x.png"
    assert set(jobs) == {folder / "in" / "shut", folder / "in" / "shut" / "x.png"}
    for fault in jobs.values():
        assert isinstance(fault, PictureError)
        assert "can't be read: Permission denied." in str(fault)


# --- what is replaced --------------------------------------------------------------------------


@pytest.fixture
def translate(here: Path, capsys: pytest.CaptureFixture[str]):
    save(here / "m.safetensors")
    shell = Shell(capsys)
    return lambda *argv: shell("translate", *argv, "-m", "m.safetensors", "--json")


def errors(result) -> list[str | None]:
    return [entry.get("error") for entry in result.json["pictures"]]


def test_results_are_replaced_on_demand_only(translate) -> None:
    assert translate("a.png", "-o", "out").code == 0
    target = Path("out/a.png")
    target.write_bytes(b"precious")
    result = translate("a.png", "b.jpg", "-o", "out")
    assert (result.code, result.json["failed"]) == (1, 1)
    assert errors(result) == [
        "out/a.png exists (--overwrite replaces it, -o writes elsewhere)",
        None,
    ]
    assert [entry.get("left_alone") for entry in result.json["pictures"]] == [True, None]
    assert target.read_bytes() == b"precious"
    assert Path("out/b.jpg").exists()
    assert translate("a.png", "-o", "out", "--overwrite").code == 0
    assert target.read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("out", [".", "a.png", "link.png"])
def test_an_input_is_never_replaced(translate, out: str) -> None:
    Path("link.png").symlink_to("a.png")
    before = Path("a.png").read_bytes()
    for extra in ((), ("--overwrite",)):
        result = translate("a.png", "-o", out, *extra)
        assert result.code == 1
        assert "is one of the pictures to translate and would be replaced" in errors(result)[0]
        assert Path("a.png").read_bytes() == before
    assert Path("link.png").is_symlink()


def test_nor_is_another_input_of_the_same_run(translate) -> None:
    """x.gif becomes x.png, and x.png is to be translated itself."""
    draw(Path("z/x.gif"), "P")
    draw(Path("z/x.png"))
    draw(Path("y/a.png"))
    before = Path("z/x.png").read_bytes(), Path("a.png").read_bytes()
    assert translate("z", "-o", "z", "--overwrite").json["failed"] == 2
    result = translate("y/a.png", "a.png", "-o", ".", "--overwrite")
    assert "a.png is one of the pictures to translate" in errors(result)[0]
    assert (Path("z/x.png").read_bytes(), Path("a.png").read_bytes()) == before


def test_the_rest_goes_on(translate) -> None:
    draw(Path("out/no.png"))
    Path("cut.png").write_bytes(Path("a.png").read_bytes()[:60])
    Path("shut").write_text("a file where a folder is needed")
    names = ["no.png", "cut.png", "m.safetensors", "a.png", "in/no.png", "b.jpg"]
    result = translate(*names, "-o", "out")
    assert result.code == 1
    missing, cut, weights, good, also_missing, also_good = errors(result)
    assert missing == "no.png does not exist; check the path."
    assert also_missing == "in/no.png does not exist; check the path."
    assert cut.startswith("cut.png is ")
    assert (
        weights == "m.safetensors is not a picture that can be read here; save it as PNG or JPEG."
    )
    assert good is also_good is None
    result = translate("a.png", "b.jpg", "-o", "shut")
    assert errors(result)[0].startswith("shut/a.png can't be written: ")
    assert result.json["failed"] == 2


def test_no_temporary_file_is_left(translate) -> None:
    assert translate("a.png", "b.jpg", "c.JPG", "in", "-o", "out").code == 0
    written = sorted(path.as_posix() for path in Path("out").rglob("*") if path.is_file())
    assert written == [
        "out/a.png",
        "out/b.jpg",
        "out/c.JPG",
        "out/d.png",
        "out/deep/e.webp",
        "out/deep/f.png",
    ]

"""What a worker makes of blocks: the command's own bytes, a row for every picture, no exception."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

pytest.importorskip("pyarrow")

from cyclegan_core import CycleGAN, ModelConfig
from cyclegan_core.bulk import reading, worker
from cyclegan_core.bulk.attempts import Deaths
from cyclegan_core.bulk.places import find_place
from cyclegan_core.bulk.reading import read_block
from cyclegan_core.bulk.report import Report
from cyclegan_core.bulk.worker import Settings, Worker
from cyclegan_core.bulk.worklist import find_work
from cyclegan_core.pictures.picture import open_picture

SETTINGS = Settings(direction="a_to_b")


@pytest.fixture(scope="module")
def model() -> CycleGAN:
    torch.manual_seed(1)
    return CycleGAN(ModelConfig(base_channels=2, num_blocks=1)).eval()


def make(folder: Path, name: str, size: tuple[int, int] = (20, 16), **options: object) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.effect_noise(size, 80).convert(options.pop("mode", "RGB")).save(path, **options)
    return path


class Job:
    """A source, a target, and the blocks between them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.source, self.target = (find_place(str(folder / name)) for name in ("in", "out"))

    def blocks(self, block_bytes: int = 2**20) -> list:
        work = find_work(self.source, self.target)
        return [part for t in work.open for part in read_block(t, self.source, block_bytes)]

    def rows(
        self, model: CycleGAN, attempts: Deaths | None = None, settings: Settings = SETTINGS
    ) -> dict[str, dict]:
        worker = Worker(model, settings, self.source, self.target, attempts)
        rows = [row for block in self.blocks() for row in worker(block).to_pylist()]
        return {row["input"]: row for row in rows}


def check_as_translate_makes_it(
    model: CycleGAN, source: Path, made: Path, strength: float = 1.0
) -> None:
    picture = open_picture(source)
    result, sink = picture.new_blend(3, strength)
    model.translate_rows(picture.rows, sink, "a_to_b")
    expected = made.with_name(f"expected_{made.name}")
    picture.write(expected, result)
    assert made.read_bytes() == expected.read_bytes()
    expected.unlink()


@pytest.mark.parametrize("strength", [1.0, 0.3])
def test_equal_sizes_go_together_and_have_the_bytes_of_the_command(
    strength: float, model: CycleGAN, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        make(tmp_path / "in", f"{number}.png")
    make(tmp_path / "in", "wide.jpg", (31, 16), quality=80)
    make(tmp_path / "in", "grey.png", mode="L")
    make(tmp_path / "in", "alpha.png", mode="RGBA")
    exif = Image.Exif()
    exif[0x0112] = 6
    make(tmp_path / "in", "turned.jpg", (16, 20), exif=exif)
    batches: list[int] = []
    translate = CycleGAN.translate

    def counted(self: CycleGAN, images: torch.Tensor, *words: object, **how: object):
        batches.append(len(images))
        return translate(self, images, *words, **how)

    monkeypatch.setattr(CycleGAN, "translate", counted)
    monkeypatch.setattr(worker, "BATCH_PIXELS", 20 * 16 * 4)
    rows = Job(tmp_path).rows(model, settings=Settings(direction="a_to_b", strength=strength))
    assert sum(batches) >= 6
    assert max(batches) <= 4
    for name, row in rows.items():
        assert (row["status"], row["error"]) == ("translated", None)
        made = tmp_path / "out" / name
        check_as_translate_makes_it(model, tmp_path / "in" / name, made, strength)
        assert row["bytes"] == (tmp_path / "out" / name).stat().st_size
        assert row["seconds"] > 0
    assert (rows["wide.jpg"]["width"], rows["wide.jpg"]["height"]) == (31, 16)
    assert (rows["turned.jpg"]["width"], rows["turned.jpg"]["height"]) == (20, 16)


def test_blocks_are_bounded_by_bytes(tmp_path: Path) -> None:
    for number in range(6):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / f"{number}.png").write_bytes(bytes(1000 * (number + 1)))
    blocks = Job(tmp_path).blocks(7000)
    assert [[row["input"][0] for row in block.to_pylist()] for block in blocks] == [
        *(["0", "1", "2"], ["3"], ["4"], ["5"]),
    ]


def test_a_large_file_is_read_by_its_worker_and_streamed(
    model: CycleGAN, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = make(tmp_path / "in", "large.png", (200, 150))
    make(tmp_path / "in", "small.png")
    monkeypatch.setattr(reading, "LARGE_FILE", large.stat().st_size)
    job = Job(tmp_path)
    content = {row["input"]: row["content"] for b in job.blocks() for row in b.to_pylist()}
    assert content["large.png"] is None
    assert content["small.png"] is not None
    rows = job.rows(model)
    assert {row["status"] for row in rows.values()} == {"translated"}
    check_as_translate_makes_it(model, large, tmp_path / "out" / "large.png")


def test_what_is_broken_becomes_a_sentence_and_stops_nobody(
    model: CycleGAN, tmp_path: Path
) -> None:
    make(tmp_path / "in", "good.png")
    half = make(tmp_path / "in", "half.jpg")
    half.write_bytes(half.read_bytes()[:200])
    (tmp_path / "in" / "empty.png").touch()
    make(tmp_path / "in", "taken.png", (24, 16))
    (tmp_path / "out" / "taken.png").mkdir(parents=True)
    (tmp_path / "in" / "gone.png").touch()
    job = Job(tmp_path)
    work = find_work(job.source, job.target)
    (tmp_path / "in" / "gone.png").unlink()
    blocks = [part for table in work.open for part in read_block(table, job.source, 2**20)]
    worker = Worker(model, SETTINGS, job.source, job.target)
    rows = {row["input"]: row for block in blocks for row in worker(block).to_pylist()}
    assert rows["good.png"]["status"] == "translated"
    errors = {name: row["error"] for name, row in rows.items() if row["error"]}
    assert sorted(errors) == ["empty.png", "gone.png", "half.jpg", "taken.png"]
    for name, sentence in errors.items():
        assert name in sentence
        assert sentence.endswith(".")
    assert "can't be read: No such file" in errors["gone.png"]
    assert "damaged or incomplete" in errors["half.jpg"]
    assert "can't be written" in errors["taken.png"]


def test_a_picture_that_kills_its_workers_is_left_alone(model: CycleGAN, tmp_path: Path) -> None:
    for name in ("a.png", "bad.png", "c.png"):
        make(tmp_path / "in", name)
    job = Job(tmp_path)
    attempts = Deaths()
    (block,) = job.blocks()
    deaths = 0

    class Killed(BaseException):
        """Nobody lives to note it."""

    class Victim(Worker):
        def _compute(self, tasks: list) -> None:
            if any(task.input == "bad.png" for task in tasks):
                raise Killed
            super()._compute(tasks)

    while True:
        victim = Victim(model, SETTINGS, job.source, job.target, attempts)
        try:
            rows = {row["input"]: row for row in victim(block).to_pylist()}
            break
        except Killed:
            deaths += 1
    assert deaths == 1 + 3
    assert "bad.png ended its worker 3 times" in rows["bad.png"]["error"]
    assert {name: row["status"] for name, row in rows.items()} == {
        "a.png": "was there",
        "bad.png": "failed",
        "c.png": "translated",
    }
    assert attempts._begun == {}


def test_the_report_has_one_row_for_every_picture(model: CycleGAN, tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "c.png", "d/B.gif", "d/b.gif"):
        make(tmp_path / "in", name)
    (tmp_path / "in" / "b.png").write_bytes(b"nothing")
    make(tmp_path / "out", "c.png")
    half = make(tmp_path / "out", "a.png")
    half.write_bytes(half.read_bytes()[:100])
    # A driver was killed while it wrote a part.
    (tmp_path / "out/_cyclegan/parts").mkdir(parents=True)
    partial = tmp_path / "out/_cyclegan/parts/.1.parquet.01234567.partial"
    partial.write_bytes(b"PAR1")
    job = Job(tmp_path)

    def go() -> tuple[list[dict], str]:
        work = find_work(job.source, job.target)
        report = Report(job.target)
        worker = Worker(model, SETTINGS, job.source, job.target)
        for table in work.open:
            for block in read_block(table, job.source, 2**20):
                report.add(worker(block))
                report.flush()
        summary = report.finish(work, 2.0)
        table = reading_back(tmp_path / "out" / "_cyclegan" / "report.parquet")
        return table, str(summary)

    def statuses(table: list[dict]) -> dict[str, str]:
        assert len({row["input"] for row in table}) == len(table)
        return {row["input"]: row["status"] for row in table}

    expected = {"a.png": "translated", "b.png": "failed", "c.png": "was there"}
    expected |= {"d/B.gif": "translated", "d/b.gif": "failed"}
    table, text = go()
    assert statuses(table) == expected
    assert "5 pictures, 2 s: 2 translated (1.0 a second), 1 were there, 2 failed" in text
    assert "differ only by case" in text
    seconds = {row["input"]: row["seconds"] for row in table}
    # What was wrong is mended; what was noted stays.
    (tmp_path / "in" / "d" / "b.gif").unlink()
    make(tmp_path / "in", "b.png")
    table, text = go()
    assert statuses(table) == {k: v for k, v in expected.items() if k != "d/b.gif"} | {
        "b.png": "translated"
    }
    assert {row["error"] for row in table} == {None}
    assert next(row["seconds"] for row in table if row["input"] == "a.png") == seconds["a.png"]
    assert "1 translated (0.5 a second), 3 were there, 0 failed" in text
    assert (tmp_path / "out" / "_cyclegan" / "summary.txt").read_text() == f"{text}\n"
    assert list((tmp_path / "out" / "_cyclegan" / "parts").iterdir()) == [partial]


def reading_back(path: Path) -> list[dict]:
    return pytest.importorskip("pyarrow.parquet").read_table(path).to_pylist()


def test_what_pillow_would_not_even_look_at_is_translated(
    model: CycleGAN, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "in", "huge.png", (40, 40))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 700)  # of twice as many it refuses the header
    row = Job(tmp_path).rows(model)["huge.png"]
    assert (row["status"], row["error"]) == ("translated", None)

"""Disks that fail under a job: what is there stays, and a sentence says what is wrong."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from PIL import Image

pytest.importorskip("pyarrow")

from cyclegan_core import CycleGAN, ModelConfig
from cyclegan_core.bulk.lease import NAME, leased
from cyclegan_core.bulk.places import Place, find_place
from cyclegan_core.bulk.reading import read_block
from cyclegan_core.bulk.report import NAME as REPORT
from cyclegan_core.bulk.report import PARTS, Report
from cyclegan_core.bulk.worker import Settings, Worker
from cyclegan_core.bulk.worklist import Worklist, find_work
from cyclegan_core.errors import CycleGANError


@contextmanager
def small_files(limit: int) -> Iterator[None]:
    """Let no file have more bytes, as a disk would that is full."""
    if sys.platform == "win32":
        pytest.skip("needs setrlimit")
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def entries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_fits_is_written_and_the_rest_is_told(tmp_path: Path) -> None:
    torch.manual_seed(1)
    model = CycleGAN(ModelConfig(base_channels=2, num_blocks=1)).eval()
    (tmp_path / "in").mkdir()
    for name, side in (("a", 16), ("b", 64), ("c", 17), ("d", 65)):
        Image.effect_noise((side, side), 80).convert("RGB").save(tmp_path / f"in/{name}.png")
    source, target = find_place(str(tmp_path / "in")), find_place(str(tmp_path / "out"))
    worker = Worker(model, Settings(direction="a_to_b"), source, target)

    def work() -> dict[str, dict]:
        blocks = [read_block(table, source, 2**20) for table in find_work(source, target).open]
        rows = [row for tables in blocks for table in tables for row in worker(table).to_pylist()]
        return {row["input"]: row for row in rows}

    with small_files(4000):
        rows = work()
    assert [rows[f"{name}.png"]["status"] for name in "abcd"] == [
        *("translated", "failed", "translated", "failed")
    ]
    sentence = rows["b.png"]["error"]
    assert "b.png can't be written" in sentence
    assert "File too large" in sentence
    assert "\n" not in sentence
    assert entries(tmp_path / "out") == ["a.png", "c.png"]
    before = {name: (tmp_path / "out" / name).read_bytes() for name in ("a.png", "c.png")}
    assert work().keys() == {"b.png", "d.png"}
    assert entries(tmp_path / "out") == ["a.png", "b.png", "c.png", "d.png"]
    assert {name: (tmp_path / "out" / name).read_bytes() for name in before} == before


def test_a_lease_that_cannot_be_written_leaves_none(tmp_path: Path) -> None:
    place = find_place(str(tmp_path))
    with (
        small_files(20),
        pytest.raises(CycleGANError, match="can't be written to: File too large; choose another"),
    ):
        leased(place, print).__enter__()
    assert entries(tmp_path / "_cyclegan") == []


def test_a_target_that_was_emptied_ends_the_driver(tmp_path: Path) -> None:
    place = find_place(str(tmp_path))
    with leased(place, print) as lease:
        lease.look()
        (tmp_path / NAME).unlink()
        with pytest.raises(
            CycleGANError, match=r"lease\.json is gone: .* the same command goes on"
        ):
            lease.look()
        with pytest.raises(CycleGANError, match="is gone"):
            lease.check()


def test_a_lease_that_cannot_be_read_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir(parents=True)
    with pytest.raises(CycleGANError, match=r"lease\.json can't be read: Is a directory; mend"):
        leased(find_place(str(tmp_path)), print).__enter__()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return find_place(str(tmp_path))


def test_a_file_of_the_jobs_own_stays_where_it_cannot_be_replaced(
    place: Place, tmp_path: Path
) -> None:
    place.write_own("a/job.json", b"before")
    with small_files(10), pytest.raises(CycleGANError) as error:
        place.write_own("a/job.json", json.dumps({"much": "more"}).encode())
    assert str(error.value).endswith(
        "a/job.json can't be written: File too large; mend that, and the same command goes on."
    )
    assert place.read_own("a/job.json") == b"before"
    assert entries(tmp_path / "a") == ["job.json"]
    assert place.read_own("a/none.json") is None
    with pytest.raises(CycleGANError, match="a can't be deleted: "):
        place.remove("a")


@pytest.mark.parametrize("name", [REPORT, f"{PARTS}/0.parquet"])
@pytest.mark.parametrize("content", [b"", b"PAR1 and no more PAR1"])
def test_a_damaged_report_is_a_sentence(
    name: str, content: bytes, place: Place, tmp_path: Path
) -> None:
    place.write_own(name, content)
    with pytest.raises(CycleGANError, match=r"parquet is damaged; delete it, and the same"):
        Report(place).finish(Worklist(), 1.0)
    assert (tmp_path / name).read_bytes() == content

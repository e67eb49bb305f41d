"""Whole jobs on a real Ray: by the command, from and to an object store.

One small Ray serves all of them. The command's own Ray, and workers that are killed, are in
`tests/faults/test_bulk.py`.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Generator, Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from PIL import Image

pytest.importorskip("pyarrow")
pytest.importorskip("ray")

import fsspec
import ray.exceptions

from cyclegan_core import CycleGAN, ModelConfig, save_model
from cyclegan_core.bulk import bulk
from cyclegan_core.bulk.arrow import Table
from cyclegan_core.bulk.bulk import Workers, translate_bulk
from cyclegan_core.bulk.places import find_place
from cyclegan_core.bulk.reading import read_block
from cyclegan_core.bulk.worker import Settings, Worker
from cyclegan_core.bulk.worklist import find_work
from cyclegan_core.cli.main import main
from cyclegan_core.errors import CycleGANError

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Ray, by Ray

SETTINGS = Settings(direction="a_to_b")


@pytest.fixture(scope="module", autouse=True)
def _cluster() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        # Ray's workers stand back for everybody else, and on a busy machine for ever.
        patch.setenv("RAY_worker_niceness", "0")
        # For the object store of one test; its processes have them from their Ray.
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        with bulk._cluster(Workers(count=1)):
            yield


@pytest.fixture(scope="module")
def model() -> CycleGAN:
    torch.manual_seed(1)
    return CycleGAN(ModelConfig(base_channels=2, num_blocks=1)).eval()


def draw(folder: Path, count: int = 6) -> Path:
    for number in range(count):
        path = folder / f"{number % 2}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((20 + number % 3, 16), 80).convert("RGB").save(path)
    return folder


def pixels(folder: Path) -> dict[str, bytes]:
    names = [path for path in folder.rglob("*.png") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in names}


def test_the_command_makes_the_same_files_as_translate(
    model: CycleGAN, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = draw(tmp_path / "in")
    (source / "bad.png").write_bytes(b"nothing")
    save_model(model, tmp_path / "m.safetensors")
    words = ["--model", str(tmp_path / "m.safetensors"), "--precision", "fp32"]
    assert main(["translate", str(source), "-o", str(tmp_path / "other"), *words]) == 1
    expected = pixels(tmp_path / "other")
    # One whole result is there, and half of one.
    (tmp_path / "out/0").mkdir(parents=True)
    (tmp_path / "out/0/2.png").write_bytes(expected["0/2.png"])
    (tmp_path / "out/0/4.png").write_bytes(expected["0/4.png"][:-20])
    there = (tmp_path / "out/0/2.png").stat()
    capsys.readouterr()
    command = ["bulk", str(source), str(tmp_path / "out"), *words, "--json", "--workers", "1"]
    assert main(command) == 1
    said = json.loads(capsys.readouterr().out)
    assert (said["translated"], said["there"], said["failed"]) == (5, 1, 1)
    assert pixels(tmp_path / "out") == expected
    assert (tmp_path / "out/0/2.png").stat().st_mtime_ns == there.st_mtime_ns

    # With nothing to do no Ray is asked; another job is refused.
    (source / "bad.png").unlink()
    assert main(command) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["translated"], said["there"], said["failed"]) == (0, 6, 0)
    assert main([*command, "--work-size", "8"]) == 1
    said = capsys.readouterr().out.splitlines()[-1]
    assert "holds results of another job, whose work_size was 0, and not 8" in said


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    """An object store on loopback that speaks as S3 does."""
    server = pytest.importorskip("moto.server", reason="pip install 'moto[s3,server]'")
    pytest.importorskip("s3fs")
    moto = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    moto.start()
    host, port = moto.get_host_and_port()
    yield f"http://{host}:{port}"
    moto.stop()


def test_from_and_to_an_object_store(
    model: CycleGAN, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = draw(tmp_path / "in")
    (source / "bad.png").write_bytes(b"nothing")
    fs = fsspec.filesystem("s3", endpoint_url=store, use_listings_cache=False)
    fs.mkdir("pictures")
    fs.put(f"{source}/", "pictures/in/", recursive=True)
    # Where the store is, every process of a cluster is told by its surroundings.
    monkeypatch.setitem(fsspec.config.conf, "s3", {"endpoint_url": store})
    summary = translate_bulk(
        model,
        "s3://pictures/in",
        "s3://pictures/out",
        SETTINGS,
        precision="fp32",
        workers=Workers(count=1),
    )
    assert (summary.translated, summary.failed) == (6, 1)
    fs.get("pictures/out/", str(tmp_path / "fetched"), recursive=True)
    # As the same blocks become on a disk.
    here, target = find_place(str(source)), find_place(str(tmp_path / "out"))
    worker = Worker(model, SETTINGS, here, target)
    for table in find_work(here, target).open:
        for block in read_block(table, here, 2**20):
            worker(block)
    assert len(pixels(tmp_path / "out")) == 6
    assert pixels(tmp_path / "fetched") == pixels(tmp_path / "out")
    assert fs.ls("pictures/out/_cyclegan", detail=False) == [
        f"pictures/out/_cyclegan/{name}" for name in ("job.json", "report.parquet", "summary.txt")
    ]


@pytest.mark.parametrize(
    ("workers", "words"),
    [
        (Workers(count=9), r"9 workers with a CPU each, and a CPU for reading, need more"),
        (Workers(gpus_per_worker=0.5), r"1 worker with 0.5 GPU and a CPU each"),
    ],
)
def test_a_cluster_that_is_too_small_is_a_sentence(
    workers: Workers, words: str, model: CycleGAN, tmp_path: Path
) -> None:
    source = draw(tmp_path / "in")
    with pytest.raises(CycleGANError, match=words):
        translate_bulk(model, str(source), str(tmp_path / "out"), SETTINGS, workers=workers)
    assert not (tmp_path / "out/_cyclegan/lease.json").exists()


def test_bad_names_are_sentences(model: CycleGAN, tmp_path: Path) -> None:
    def refused(source: Path, target: str = "out") -> str:
        with pytest.raises(CycleGANError) as error:
            translate_bulk(model, str(source), str(tmp_path / target), SETTINGS)
        return str(error.value)

    assert refused(tmp_path / "missing").endswith("missing does not exist; check the name.")
    (tmp_path / "empty").mkdir()
    assert refused(tmp_path / "empty").endswith("empty holds no pictures; choose another folder.")
    (tmp_path / "a.png").touch()
    assert "a.png is a file; name a folder, or use: cyclegan translate" in refused(
        tmp_path / "a.png"
    )
    assert "is the source itself" in refused(tmp_path / "empty", "empty")


@pytest.mark.parametrize("content", [b"", b"[1]", b"[" * 100_000])
def test_a_damaged_job_is_a_sentence(content: bytes, tmp_path: Path) -> None:
    place = find_place(str(tmp_path))
    place.write_own(bulk.JOB, content)
    with pytest.raises(CycleGANError, match=r"job\.json is damaged; delete it, or choose another"):
        bulk._check_job(place, {}, "fp32")


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("nonsense", "address must be local, auto or HOST:PORT"),
        ("127.0.0.1:99999", "address must be local, auto or HOST:PORT"),
        ("127.0.0.1:9", "The Ray at 127.0.0.1:9 does not answer: Connection refused."),
    ],
)
def test_a_wrong_address_is_a_sentence(address: str, words: str) -> None:
    with pytest.raises(CycleGANError, match=words):
        bulk._check_answers(address)


def test_a_ray_that_asks_for_a_token_is_a_sentence() -> None:
    refused = ConnectionError("Failed to connect to Ray cluster at 10.0.0.1:6379")
    refused.__cause__ = RuntimeError("RPC error: InvalidAuthToken: Authentication token is missing")
    said = str(bulk._unreachable("10.0.0.1:6379", refused))
    assert "asks for a token: give this computer the head's ~/.ray/auth_token" in said


def test_a_lost_computer_ends_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what a Ray of two computers hands on; `tests/faults/nodes.py` has the real ones."""
    nodes, ended = [{"NodeID": "head"}, {"NodeID": "other"}], threading.Event()
    monkeypatch.setattr(bulk, "_nodes", lambda: list(nodes))
    monkeypatch.setattr(bulk, "_SECONDS_OF_SILENCE", 0.01)
    go_on = threading.Event()

    def blocks() -> Generator[str]:
        try:
            yield "first"
            go_on.wait()
            yield "second"
        finally:
            ended.set()

    # A pause alone is none of its business.
    watched = bulk._watched(blocks())
    assert next(watched) == "first"
    threading.Timer(0.1, go_on.set).start()
    assert list(watched) == ["second"]
    assert ended.wait(10)

    go_on.clear()
    ended.clear()
    watched = bulk._watched(blocks())
    assert next(watched) == "first"
    nodes.pop()
    with pytest.raises(CycleGANError, match=r"^The cluster has lost 1 of 2 computers$"):
        next(watched)
    go_on.set()
    assert ended.wait(10)  # what was waited for ends, too


@pytest.mark.parametrize("is_ours", [True, False])
def test_what_a_lost_computer_leaves_is_done_by_the_others(
    *, is_ours: bool, model: CycleGAN, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, watched, told = draw(tmp_path / "in"), bulk._watched, []
    monkeypatch.setattr(bulk, "_cluster", lambda _: nullcontext(is_ours))

    def lose(blocks: Generator[Table]) -> Iterator[Table]:
        yield next(watched(blocks))
        monkeypatch.setattr(bulk, "_watched", watched)
        (tmp_path / "out/1/3.png").unlink()  # as if it had not been done
        raise bulk._LostNodeError("The cluster has lost 1 of 2 computers")

    monkeypatch.setattr(bulk, "_watched", lose)
    words = (model, str(source), str(tmp_path / "out"), SETTINGS)
    how = {"precision": "fp32", "workers": Workers(count=1), "tell": told.append}
    if not is_ours:
        with pytest.raises(CycleGANError, match=r"1 of 2 computers; the same call goes on\.$"):
            translate_bulk(*words, **how)
        return
    summary = translate_bulk(*words, **how)
    assert "The cluster has lost 1 of 2 computers; what is left is done by the others." in told
    assert "1 worker with a CPU each in fp32: 1 of 6 pictures to be done" in told
    assert (summary.translated + summary.there, summary.failed) == (6, 0)
    assert len(pixels(tmp_path / "out")) == 6


def test_what_goes_wrong_among_the_workers_is_told_here(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = [{"NodeID": "head"}, {"NodeID": "other"}]
    monkeypatch.setattr(bulk, "_nodes", lambda: list(nodes))

    def blocks() -> Generator[str]:
        yield "first"
        raise ray.exceptions.RayError("ray::work()\n  a.py\nValueError: of a.\nSee DataContext.")

    watched = bulk._watched(blocks())
    assert next(watched) == "first"
    with pytest.raises(ray.exceptions.RayError) as error:
        next(watched)
    assert bulk._last_line(error.value) == "ValueError: of a"

    # A computer that is lost takes more along than its workers.
    watched = bulk._watched(blocks())
    assert next(watched) == "first"
    nodes.pop()
    with pytest.raises(CycleGANError, match="has lost 1 of 2 computers"):
        next(watched)


def test_the_counters_of_batch_norms_are_part_of_a_model(tmp_path: Path) -> None:
    model = CycleGAN(ModelConfig(base_channels=2, num_blocks=1, norm="batch"))
    place = find_place(str(tmp_path))
    before = bulk._identity(model, place, SETTINGS)
    assert bulk._identity(model, place, SETTINGS) == before
    next(b for n, b in model.named_buffers() if n.endswith("num_batches_tracked")).add_(1)
    assert bulk._identity(model, place, SETTINGS) != before

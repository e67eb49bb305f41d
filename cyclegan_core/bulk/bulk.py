"""The job: Ray Data hands blocks of pictures to actors with one model each.

What is resumed, and how often a picture is done, doesn't depend on Ray: the work is what has no
result, and a result appears whole. Ray's own checkpoints would count blocks, not pictures.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import queue
import re
import socket
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, cast

import torch

# Ray would tell its makers about every cluster; nothing here goes anywhere unasked.
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
# What still runs of a job when its Ray ends must not start another one.
os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")
import ray
import ray.data
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from .._version import __version__
from ..device.memory import free_bytes
from ..device.precision import NAMES, Precision, fastest_dtype
from ..errors import CycleGANError
from ..model import CycleGAN
from .arrow import Table
from .attempts import Deaths
from .lease import leased
from .places import MISTAKES, Place, check_target, fault, find_place
from .reading import read_block
from .report import PARTS, Report, Summary
from .worker import Settings, Worker
from .worklist import FOLDER, Worklist, find_work

JOB = f"{FOLDER}/job.json"

_STORE_BYTES = 2**29
"""Of a Ray that is started here: some dozens of blocks, whatever they hold."""

_BLOCK_BYTES = {"cpu": 2**20, "cuda": 2**23}
"""Of pictures' files that an actor takes at a time: what dies with an actor is done again, and
every block costs the driver a few milliseconds."""

_READING_CPUS = 0.5
"""Of a task that reads, which mostly waits. Were it a worker's 1, Ray would make one step of both,
and nobody would read ahead."""

_SECONDS_TO_ANSWER = 10

_SECONDS_OF_SILENCE = 30.0
"""Without a block, after which is looked whether all computers are still there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workers:
    """Who does the work."""

    address: str = "local"
    """local: a Ray of this computer's own, which ends with the job; auto: the one that runs here;
    or HOST:PORT of a cluster's head."""
    gpus_per_worker: float | None = None
    """Parts of a GPU count; None is 1 where the cluster has GPUs, else 0."""
    count: int | None = None
    """None is as many as there is room for, with a CPU left to read."""

    def __post_init__(self) -> None:
        gpus = self.gpus_per_worker
        if gpus is not None and not 0 <= gpus < 1e6:
            raise ValueError(f"gpus_per_worker must be a number from 0 up; got {gpus!r}.")
        if self.count is not None and self.count < 1:
            raise ValueError(f"workers must be a whole number of at least 1; got {self.count!r}.")


def translate_bulk(  # noqa: PLR0913 - what, where, and how
    model: CycleGAN,
    source: str,
    target: str,
    settings: Settings,
    *,
    precision: Precision | Literal["auto"] = "auto",
    workers: Workers | None = None,
    tell: Callable[[str], object] = lambda _: None,
    on_progress: Callable[[int, int], object] = lambda _, __: None,
) -> Summary:
    """Translate all pictures of a folder or an object store into another.

    The same call goes on with what was stopped: a picture whose result exists and is whole is not
    done again.

    Args:
        model: on the CPU; every worker gets a copy.
        source: a path or a URL that fsspec reads.
        target: where results go under the same names; outside the source.
        settings: of every picture; its precision is set by `precision`.
        precision: "auto" is measured on one worker when the job begins, and kept.
        workers: how many, and where.
        tell: takes sentences about what goes on.
        on_progress: called as (done, all).

    Raises:
        CycleGANError: the source can't be read, the target can't be written or holds another job
            or another driver works on it, or Ray can't be had or gives up.
        ValueError: an argument makes no sense.
    """
    started = time.monotonic()
    workers = workers or Workers()
    from_, to = find_place(source), find_place(target)
    check_target(to, from_)
    _check_source(from_)
    with leased(to, tell) as lease:
        identity = _identity(model, from_, settings)
        kept = _check_job(to, identity, precision)
        work = _find_work(from_, to, tell)
        if not work.total:
            raise CycleGANError(f"{source} holds no pictures; choose another folder.")
        report = Report(to)
        left, is_again = work, False
        while left.num_open:
            with _cluster(workers) as is_ours:
                plan = _plan(workers, is_smaller=is_again)
                _check_nodes(to)
                if not kept:
                    kept = _fastest(plan) if precision == "auto" else precision
                    held = json.dumps(identity | {"precision": kept}, indent=1)
                    to.write_own(JOB, held.encode())
                tell(f"{plan} in {kept}: {left.num_open:,} of {work.total:,} pictures to be done")
                how = replace(settings, precision=kept)
                total = report.done + left.num_open
                try:
                    for rows in _watched(_run(plan, model, how, from_, to, left)):
                        lease.check()
                        report.add(rows)
                        on_progress(report.done, total)
                    break
                except RayError as error:
                    raise CycleGANError(
                        f"Ray gave up ({_last_line(error)}); the same command goes on."
                    ) from None
                except _LostNodeError as error:
                    if not is_ours:  # to begin anew, which ends all workers
                        raise CycleGANError(f"{error}; the same call goes on.") from None
                    tell(f"{error}; what is left is done by the others.")
                finally:
                    with suppress(CycleGANError):
                        report.flush()
            left, is_again = _find_work(from_, to, tell), True
        lease.look()
        summary = report.finish(work, time.monotonic() - started)
        to.remove_partials({*work.folders(), FOLDER, PARTS})
    return summary


def _check_source(source: Place) -> None:
    try:
        status = source.fs.info(source.root) if not source.fs.isdir(source.root) else None
    except FileNotFoundError:
        raise CycleGANError(f"{source.url} does not exist; check the name.") from None
    except Exception as error:  # noqa: BLE001 - each kind of store has its own
        raise CycleGANError(f"{source.url} can't be read: {fault(error)}.") from None
    if status is not None:
        raise CycleGANError(
            f"{source.url} is a file; name a folder, or use: cyclegan translate {source.url}"
        )


def _find_work(source: Place, target: Place, tell: Callable[[str], object]) -> Worklist:
    try:
        return find_work(source, target, lambda found: tell(f"{found:,} pictures found"))
    except MISTAKES:
        raise
    except Exception as error:  # noqa: BLE001 - each kind of store has its own
        raise CycleGANError(f"{source.url} can't be read: {fault(error)}.") from None


def _identity(model: CycleGAN, source: Place, settings: Settings) -> dict[str, Any]:
    """What makes results the same: whoever goes on must have it all in common."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        flat = tensor.detach().cpu().reshape(-1)  # a batch norm's counter has no dimension
        digest.update(flat.view(torch.uint8).numpy().tobytes())
    return {
        "source": source.real_root,
        "model": digest.hexdigest(),
        **{name: value for name, value in asdict(settings).items() if name != "precision"},
        "precision": "",
        "version": __version__,
    }


def _check_job(
    target: Place, identity: dict[str, Any], precision: Precision | Literal["auto"]
) -> Precision | Literal[""]:
    """The precision of the job that the target holds; empty if it holds none.

    Raises:
        CycleGANError: it holds another one.
    """
    content = target.read_own(JOB)
    if content is None:
        return ""
    try:
        held = json.loads(content)
    except (ValueError, RecursionError):
        held = None
    if not isinstance(held, dict):
        raise CycleGANError(f"{target.shown(JOB)} is damaged; delete it, or choose another target.")
    kept = held.get("precision", "")
    asked = identity | {"precision": kept if precision == "auto" else precision}
    other = [name for name in asked if name != "version" and held.get(name) != asked[name]]
    if other:
        word = other[0]
        values = (
            "another one" if word == "model" else f"{held.get(word)!r}, and not {asked[word]!r}"
        )
        raise CycleGANError(
            f"{target.url} holds results of another job, whose {word} was {values}; choose another "
            f"target, or delete {target.shown(JOB)} to mix them."
        )
    return kept


@contextmanager
def _cluster(workers: Workers) -> Generator[bool]:
    """A Ray, started or found, and whether it ends here; it is left as it was found."""
    if ray.is_initialized():  # by the caller, whose it stays
        yield False
        return
    quiet: dict[str, Any] = {
        "log_to_driver": False,
        "logging_level": logging.ERROR,
        "configure_logging": True,
    }
    try:
        if workers.address == "local":
            cpus = max(2, _cpus(), (workers.count or 0) + 1)
            free = free_bytes(torch.device("cpu")) or 2**33
            store = max(80 * 2**20, min(_STORE_BYTES, free // 10))
            own = {"num_cpus": cpus, "object_store_memory": store, "include_dashboard": False}
            with _silent():
                ray.init("local", **own, **quiet)
        else:
            if workers.address != "auto":
                _check_answers(workers.address)
            with _silent():
                ray.init(workers.address, **quiet)
    except CycleGANError:
        raise
    except Exception as error:  # noqa: BLE001 - Ray raises that itself
        raise _unreachable(workers.address, error) from None
    try:
        yield True
    finally:
        ray.shutdown()


def _unreachable(address: str, error: Exception) -> CycleGANError:
    """What is wrong with a Ray that can't be had, and what to do."""
    if "InvalidAuthToken" in str(error.__cause__):
        return CycleGANError(
            f"The Ray at {address} asks for a token: give this computer the head's "
            "~/.ray/auth_token, and set RAY_AUTH_MODE=token."
        )
    if address == "auto":
        advice = "start one with `ray start --head`, name its HOST:PORT, or leave --address out"
        return CycleGANError(f"No running Ray was found on this computer; {advice}.")
    what = f"The Ray at {address} does not answer"
    if address == "local":
        what = "Ray can't be started here"
    return CycleGANError(f"{what}: {fault(error)[:300]}.")


@contextmanager
def _silent() -> Generator[None]:
    """Without what Ray's own libraries write to standard error, whatever its loggers are told."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nothing:  # noqa: PTH123
            os.dup2(nothing.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _check_answers(address: str) -> None:
    """Make sure that something listens at HOST:PORT; Ray itself would try for a minute.

    Raises:
        CycleGANError: it is no address, or nothing listens there.
    """
    try:
        found = urllib.parse.urlsplit(address if "://" in address else f"ray-head://{address}")
        host, port = found.hostname, found.port
    except ValueError:
        host = port = None
    if not host or not port:
        raise CycleGANError(
            f"address must be local, auto or HOST:PORT of a cluster's head; got {address!r}."
        )
    try:
        socket.create_connection((host, port), timeout=_SECONDS_TO_ANSWER).close()
    except OSError as error:
        raise CycleGANError(f"The Ray at {address} does not answer: {fault(error)}.") from None


def _cpus() -> int:
    """Those that this process may use."""
    with suppress(AttributeError):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class _Plan:
    """The cluster's share for the work."""

    count: int
    gpus: float
    """Of each worker."""
    per_node: int
    """Workers that share a computer's memory, or a GPU's."""

    def __str__(self) -> str:
        kind = f"{self.gpus:g} GPU each" if self.gpus else "a CPU each"
        return f"{self.count} worker{'' if self.count == 1 else 's'} with {kind}"

    @property
    def resources(self) -> dict[str, Any]:
        """What a worker asks of Ray."""
        return {"num_cpus": 1, "num_gpus": self.gpus}

    @property
    def block_bytes(self) -> int:
        """Of files in a block."""
        return _BLOCK_BYTES["cuda" if self.gpus else "cpu"]


def _plan(workers: Workers, *, is_smaller: bool = False) -> _Plan:
    """Divide the cluster up; actors on every CPU would leave none to read for them.

    Args:
        workers: who is asked for.
        is_smaller: the cluster has lost a computer, and as many as it still has will do.

    Raises:
        CycleGANError: it is too small for what was asked.
    """
    total = ray.cluster_resources()
    cpus, all_gpus = int(total.get("CPU", 0)), total.get("GPU", 0.0)
    gpus = workers.gpus_per_worker
    gpus = (1.0 if all_gpus else 0.0) if gpus is None else float(gpus)
    room = cpus - 1
    if gpus:
        room = min(room, int(all_gpus / gpus + 1e-6))
    if room < 1 or ((workers.count or 0) > room and not is_smaller):
        wanted = f"{workers.count or 1} worker{'' if (workers.count or 1) == 1 else 's'}"
        each = f"{gpus:g} GPU and a CPU each" if gpus else "a CPU each"
        raise CycleGANError(
            f"The Ray has {cpus} CPUs and {all_gpus:g} GPUs, and {wanted} with {each}, and a CPU "
            "for reading, need more; ask for fewer --workers or --gpus-per-worker, or add nodes."
        )
    count = min(workers.count or room, room)
    if gpus:
        per_node = max(1, int(1 / gpus))
    else:
        largest = max(int(node["Resources"].get("CPU", 0)) for node in _nodes())
        per_node = min(count, largest)
    return _Plan(count, gpus, per_node)


def _nodes() -> list[dict[str, Any]]:
    """Those that are alive."""
    return [node for node in ray.nodes() if node["Alive"]]


def _check_nodes(target: Place) -> None:
    """Make sure that every computer has CycleGAN and sees the target.

    Raises:
        CycleGANError: one has not, or doesn't.
    """

    def look() -> str:
        try:
            from .._version import __version__ as version
            from .lease import NAME
        except ImportError as error:
            return f'can\'t import {error.name}: pip install "cyclegan[ray]" there'
        if version != __version__:
            return f"has CycleGAN {version}, and this computer {__version__}; install the same"
        try:
            if not target.size(NAME):
                return f"doesn't see {target.url}; choose a shared folder or an object store"
        except Exception as error:  # noqa: BLE001 - each kind of store has its own
            return f"can't read {target.url}: {fault(error)}"
        return ""

    task = ray.remote(num_cpus=0)(look)
    nodes = _nodes()
    found = [
        task.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        ).remote()
        for node in nodes
    ]
    for node, reference in zip(nodes, found, strict=True):
        try:
            fault_there = ray.get(reference)
        except RayError as error:
            fault_there = f"can't run CycleGAN ({_last_line(error)})"
        if fault_there:
            raise CycleGANError(f"The node {node['NodeManagerAddress']} {fault_there}.")


def _device() -> torch.device:
    """What an actor of this process computes on: Ray shows it only the GPUs that it may use."""
    is_cuda = bool(ray.get_gpu_ids()) and torch.cuda.is_available()
    return torch.device("cuda" if is_cuda else "cpu")


def _fastest(plan: _Plan) -> Precision:
    """What is measured on one worker, for all: pictures don't depend on who made them."""

    def measure() -> Precision:
        return NAMES[fastest_dtype(_device())]

    try:
        found: Precision = ray.get(ray.remote(**plan.resources)(measure).remote())
    except RayError as error:
        raise CycleGANError(f"Ray gave up ({_last_line(error)}).") from None
    return found


class _Actor:
    """A worker in Ray's hands."""

    def __init__(
        self,
        model: Any,  # noqa: ANN401 - a reference
        settings: Settings,
        source: Place,
        target: Place,
        attempts: Any,  # noqa: ANN401 - a handle
        per_node: int,
    ) -> None:
        loaded: CycleGAN = ray.get(model)
        here = loaded.to(_device()).eval()
        self._worker = Worker(here, settings, source, target, _Remote(attempts), share=per_node)

    def __call__(self, block: Table) -> Table:
        return self._worker(block)


class _Remote:
    """`Attempts` of an actor that outlives the workers."""

    def __init__(self, actor: Any) -> None:  # noqa: ANN401 - a handle
        self._actor = actor

    def begin(self, key: str) -> int:
        return ray.get(self._actor.begin.remote(key))

    def end(self, keys: list[str]) -> None:
        self._actor.end.remote(keys)


def _run(
    plan: _Plan,
    model: CycleGAN,
    settings: Settings,
    source: Place,
    target: Place,
    work: Worklist,
) -> Generator[Table]:
    """The rows of the report, a block's together, as they are done."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.target_max_block_size = plan.block_bytes
    context.target_min_block_size = 0
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    keeper = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(Deaths)
    attempts = keeper.options(scheduling_strategy=here).remote()  # no other computer takes it along
    weights = ray.put(model)  # held here, or actors that start again would not find it
    blocks = ray.data.from_arrow(work.open)
    contents = blocks.map_batches(
        cast("Any", read_block),
        batch_size=None,
        batch_format="pyarrow",
        zero_copy_batch=True,
        fn_args=(source, plan.block_bytes),
        num_cpus=_READING_CPUS,
    )
    rows = contents.map_batches(
        _Actor,
        batch_size=None,
        batch_format="pyarrow",
        zero_copy_batch=True,
        compute=ray.data.ActorPoolStrategy(
            min_size=1, max_size=plan.count, initial_size=plan.count
        ),
        fn_constructor_args=(
            weights,
            settings,
            source,
            target,
            attempts,
            plan.per_node,
        ),
        **plan.resources,
    )
    yield from rows.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)


class _LostNodeError(CycleGANError):
    """A computer of the cluster is gone, and nothing comes any more."""


def _alive() -> set[str]:
    return {node["NodeID"] for node in _nodes()}


def _lost(lost: set[str], known: set[str]) -> _LostNodeError:
    return _LostNodeError(f"The cluster has lost {len(lost)} of {len(known)} computers")


def _watched(blocks: Generator[Table]) -> Iterator[Table]:
    """The same blocks, unless a computer is lost.

    Ray would start the workers that were there anew, for which the others may have no room, and
    wait for that with what it had given them: for ever, if no computer is added.

    Raises:
        _LostNodeError: one is gone, and nothing came for a while.
    """
    came: queue.Queue[Table | BaseException | None] = queue.Queue(maxsize=1)
    is_over = threading.Event()

    def take() -> None:
        try:
            for block in blocks:
                came.put(block)
                if is_over.is_set():
                    break
            blocks.close()
            came.put(None)
        except BaseException as error:  # noqa: BLE001 - goes on over there
            came.put(error)

    known = _alive()
    threading.Thread(target=take, daemon=True, name="blocks").start()
    try:
        while True:
            try:
                found = came.get(timeout=_SECONDS_OF_SILENCE)
            except queue.Empty:
                if lost := known - _alive():
                    raise _lost(lost, known) from None
                continue
            if found is None:
                return
            if isinstance(found, RayError) and (lost := known - _alive()):
                raise _lost(lost, known) from None
            if isinstance(found, BaseException):
                raise found
            yield found
    finally:
        is_over.set()
        with suppress(queue.Empty):  # room for what it is about to put, or it would never end
            while True:
                came.get_nowait()


def _last_line(error: BaseException) -> str:
    """The fault that is below Ray's traceback, and above its advice."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    faults = [line for line in lines if re.match(r"[\w.]+(Error|Exception|Exit)\b", line)]
    return (faults or lines or [type(error).__name__])[-1][:300].rstrip(".")

"""Weight files with random damage: each loads, or is refused in a sentence, soon, in little memory.

    python -m tests.faults.weight_files --count 10000 --seed 1

Every layout that is known is damaged, as safetensors and in both of PyTorch's own formats: bytes
anywhere; the text of headers; the tensors behind them; the archive around them; and the pickle,
into which calls of code are put. Where a checksum protects the content, a damaged file that loads
has to give exactly what the whole one gives.

In CI `test_weight_files.py` runs a short form of it.
"""

from __future__ import annotations

import argparse
import faulthandler
import gzip
import io
import json
import pickle
import random
import resource
import tarfile
import tempfile
import time
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from cyclegan_core import CheckpointError, CycleGAN, ModelConfig, inspect_checkpoint, load_model
from cyclegan_core.model import save_model
from tests.unit.checkpoint import foreign

SLOWEST = 5.0
"""Seconds of the processor that a file may take; a wait without work ends after 12 times that."""
MOST_MEMORY = 500_000
"""KB by which the process may grow over all files, each of which is far smaller than that."""

State = dict[str, Tensor]


# --- whole files --------------------------------------------------------------------------------


def networks() -> dict[str, State]:
    """A small network of every layout that is known."""
    small = {"blocks": 1}
    made = {
        "upstream": foreign.upstream(**small),
        "upstream batch": foreign.upstream("batch", dropout=True, **small),
        "upstream resize": foreign.upstream(upsample=True, **small),
        "vintagify": foreign.vintagify(**small),
        "eriklindernoren": foreign.eriklindernoren(),
        "lornatang": foreign.lornatang(),
        "upit": foreign.upit(**small),
        "aladdinpersson": foreign.Aladdinpersson(1),
        "mmgen": foreign.mmgen(**small),
        "arnab39": foreign.arnab39(**small),
        "cut": foreign.cut(**small),
        "cut down": foreign.cut(up=False, **small),
        "cut up": foreign.cut(down=False, **small),
        "unet": foreign.unet(width=1),
    }
    return {name: foreign.scramble(network).state_dict() for name, network in made.items()}


@dataclass(frozen=True)
class Whole:
    """An undamaged file."""

    content: bytes
    state: State
    """What it was made of."""
    is_protected: bool
    """Its tensors have a checksum."""


def torch_file(content: object, *, is_zip: bool) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=is_zip)
    return buffer.getvalue()


def originals(folder: Path) -> dict[str, Whole]:
    """Whole files of each kind."""
    model = CycleGAN(ModelConfig(base_channels=1, num_blocks=1))
    path = folder / "whole.safetensors"
    save_model(model, path)
    found = {"ours": Whole(path.read_bytes(), dict(model.state_dict()), is_protected=True)}
    for name, state in networks().items():
        contiguous = {key: value.contiguous() for key, value in state.items()}
        found[f"{name} safetensors"] = Whole(save(contiguous), state, is_protected=False)
        nested = {"netG_A": state, "epoch": 3, "lr": [2e-4] * 9, "loss": {"a": 1.5}}
        for is_zip in (True, False):
            content = torch_file(nested if "batch" in name else state, is_zip=is_zip)
            kind = f"{name} {'zip' if is_zip else 'legacy'}"
            found[kind] = Whole(content, state, is_protected=is_zip)
    return found


# --- bytes --------------------------------------------------------------------------------------


def flip(content: bytearray, rng: random.Random) -> None:
    """Bits anywhere."""
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)


def flip_structure(content: bytearray, rng: random.Random) -> None:
    """Bytes where headers, pickles and directories lie."""
    for _ in range(rng.choice((1, 2, 4))):
        near = min(len(content), 4000)
        place = (
            rng.randrange(near) if rng.random() < 0.6 else len(content) - 1 - rng.randrange(near)
        )
        content[place] = rng.choice((0, 1, 0x28, 0x52, 0x7F, 0x80, 0xFF, rng.randrange(256)))


def cut(content: bytearray, rng: random.Random) -> None:
    """The end, or a piece in the middle, is missing."""
    begin = rng.randrange(len(content))
    del content[begin : begin + rng.choice((1, 8, 100, len(content)))]


def insert(content: bytearray, rng: random.Random) -> None:
    """A piece of the file again, or rubbish, in between."""
    begin, place = rng.randrange(len(content)), rng.randrange(len(content))
    piece = content[begin : begin + rng.randrange(1, 200)]
    content[place:place] = piece if rng.random() < 0.5 else rng.randbytes(len(piece))


def overwrite(content: bytearray, rng: random.Random) -> None:
    """Zeros, or ones, as a bad disk gives them."""
    begin, length = rng.randrange(len(content)), rng.choice((4, 512, 4096))
    end = min(len(content), begin + length)
    content[begin:end] = rng.choice((b"\0", b"\xff")) * (end - begin)


def change_number(content: bytearray, rng: random.Random) -> None:
    """A decimal digit of a header: sizes, offsets, shapes."""
    digits = [i for i, byte in enumerate(content[:6000]) if 48 <= byte <= 57]
    if digits:
        content[rng.choice(digits)] = 48 + rng.randrange(10)


BYTES: tuple[Callable[[bytearray, random.Random], None], ...] = (
    flip,
    flip_structure,
    cut,
    insert,
    overwrite,
    change_number,
)


# --- headers of safetensors files ---------------------------------------------------------------

ODD_NUMBERS = (0, 1, -1, 2**31, 2**32, 2**62, 2**63, 2**64, 10**30, 1.5, None, "1", [], True)
DTYPES = [
    "F64",
    "F32",
    "F16",
    "BF16",
    "F8_E4M3",
    "F8_E5M2",
    "F8_E8M0",
    "F4",
    "C64",
    "I64",
    "I32",
    "I16",
    "I8",
    "U64",
    "U8",
    "BOOL",
    "X32",
]


def change_header(content: bytearray, rng: random.Random) -> None:
    """An entry of the header: its kind, shape, place, name, or the texts."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    key = rng.choice(list(header))
    entry = header[key]
    again = ""
    if key == "__metadata__" or rng.random() < 0.1:
        _change_texts(header, rng)
    else:
        match rng.randrange(7):
            case 0:
                entry["dtype"] = rng.choice(DTYPES)
            case 1:
                shape = entry["shape"]
                changed = [shape[::-1], [*shape, 1], shape[1:], [], [rng.choice(ODD_NUMBERS)] * 4]
                entry["shape"] = rng.choice(changed)
            case 2:
                entry["data_offsets"][rng.randrange(2)] = rng.choice(ODD_NUMBERS)
            case 3:
                other = rng.choice([k for k in header if k != "__metadata__"])
                places = entry["data_offsets"], header[other]["data_offsets"]
                entry["data_offsets"], header[other]["data_offsets"] = places[1], places[0]
            case 4:
                header[rng.choice((key + "x", "", "\x1b[2J", key * 300, "model.1"))] = header.pop(
                    key
                )
            case 5:
                del header[key]
            case _:
                again = f",{json.dumps(key)}:{json.dumps(entry)}"
    text = json.dumps(header).encode()
    text = text[:-1] + again.encode() + b"}"
    text += b" " * (-len(text) % 8)
    stated = (
        rng.choice((0, 1, len(text) * 2, 2**40, 2**64 - 1)) if rng.random() < 0.1 else len(text)
    )
    content[: 8 + length] = stated.to_bytes(8, "little") + text


def _change_texts(header: dict, rng: random.Random) -> None:
    texts = header.setdefault("__metadata__", {})
    if "config" in texts and rng.random() < 0.8:
        config = json.loads(texts["config"])
        name = rng.choice(list(config))
        config[name] = rng.choice((*ODD_NUMBERS, "\x1b[31m", "x" * 10_000, {"a": 1}, [0, 1]))
        texts["config"] = json.dumps(config)
    else:
        name = rng.choice((*texts, "format", "format_version", "training", "source"))
        odd = ("", "{", "[" * 5000, "null", "cyclegan", "9" * 5000, '{"a": NaN}', "\ud800", 3, None)
        texts[name] = rng.choice(odd)


# --- tensors ------------------------------------------------------------------------------------


def not_finite(state: dict, key: str, rng: random.Random) -> bool:
    """NaN or infinity somewhere."""
    if not state[key].is_floating_point() or not state[key].numel():
        return False
    state[key] = state[key].clone()
    state[key].view(-1)[rng.randrange(state[key].numel())] = rng.choice(
        (float("nan"), float("inf"))
    )
    return not key.endswith(".filt")


def other_kind(state: dict, key: str, rng: random.Random) -> bool:
    """Numbers of another kind, a tensor without memory, a view, a sparse one."""
    value = state[key]
    kinds = (
        torch.int32,
        torch.bool,
        torch.complex64,
        torch.float8_e5m2,
        torch.float16,
        torch.uint8,
    )
    made = (
        *(value.to(kind) for kind in kinds),
        value.to("meta"),
        value.reshape(-1)[:1].expand(value.numel()).reshape(value.shape),
        value.to_sparse(),
        torch.quantize_per_tensor(value.float(), 0.1, 0, torch.quint8),
        torch.nn.Parameter(value) if value.is_floating_point() else value,
    )
    state[key] = rng.choice(made)
    return False


def other_shape(state: dict, key: str, rng: random.Random) -> bool:
    """Another shape: turned, without a dimension, empty, a number."""
    value = state[key]
    made = (
        value.transpose(0, -1) if value.ndim else value[None],
        value.flatten(),
        value[None],
        value[:0] if value.ndim else value,
        value.sum(),
        torch.cat([value, value]) if value.ndim else value,
    )
    state[key] = rng.choice(made)
    return False


def no_key(state: dict, key: str, _: random.Random) -> bool:
    """A tensor is missing; only biases that do nothing may be."""
    return state.pop(key).ndim == 4


def more_keys(state: dict, key: str, rng: random.Random) -> bool:
    """Something else beside it, or inside it."""
    stem = key.rpartition(".")[0]
    names = (f"{stem}.extra", f"optimizer.{key}", f"ema.{key}", f"{key}.{key}", "x" * 5000, 7, "")
    state[rng.choice(names)] = rng.choice(
        (state[key], {"a": state[key]}, [state[key]] * 5, "text" * 500, 1e308, None)
    )
    return False


def renamed(state: dict, key: str, rng: random.Random) -> bool:
    """A key is called otherwise."""
    others = (
        rng.choice([str(k) for k in state]),
        "\x1b]0;x\x07" + key,
        key.upper(),
        f"module.{key}",
    )
    state[rng.choice(others)] = state.pop(key)
    return False


def itself(state: dict, key: str, _: random.Random) -> bool:
    """A dictionary that holds itself, and one that is deep."""
    deep: dict = {}
    for _ in range(100):
        deep = {key: deep}
    state["again"], state["deep"] = state, deep
    return False


TENSORS: tuple[Callable[[dict, str, random.Random], bool], ...] = (
    not_finite,
    other_kind,
    other_shape,
    no_key,
    more_keys,
    renamed,
    itself,
)
"""Each says whether no such file may load."""


def changed_tensors(whole: Whole, rng: random.Random) -> tuple[bytes, bool]:
    """A file that is whole, of a state that is not."""
    state = dict(whole.state)
    key = rng.choice([key for key, value in state.items() if value.is_floating_point()])
    refused = rng.choice(TENSORS)(state, key, rng)
    if rng.random() < 0.3:
        try:
            return save({k: v.contiguous() for k, v in state.items()}), refused
        except (ValueError, RuntimeError, AttributeError, TypeError, KeyError, NotImplementedError):
            pass  # what safetensors can't hold, PyTorch can
    return torch_file(state, is_zip=rng.random() < 0.5), refused


# --- archives and pickles -----------------------------------------------------------------------


class Canary:
    """Unpickled as a call that leaves a folder behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.mkdir, (self.path,)


def repacked(content: bytes, rng: random.Random) -> bytes:
    """The same file in another archive, or with other members."""
    buffer = io.BytesIO()
    kind = rng.choice(("gzip", "tar", "nested", "deflated", "twice", "more", "bomb", "renamed"))
    if kind == "gzip":
        return gzip.compress(content)
    if kind == "tar":
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            entry = tarfile.TarInfo(rng.choice(("a.pth", "storages", "../../x", "pickle")))
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
        return buffer.getvalue()
    members: list[tuple[str, bytes]] = [("archive/data.pkl", content)]
    if content.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [(m.filename, archive.read(m)) for m in archive.infolist()]
    if kind == "nested":
        members = [(members[0][0], content)]
    elif kind == "more":
        members.append((rng.choice(("archive/x/data.pkl", "x/data.pkl", "../../../x", "")), b"x"))
    elif kind == "bomb":
        members.append(("archive/data/99", bytes(50_000_000)))
    elif kind == "renamed":
        name, data = members.pop(rng.randrange(len(members)))
        members.append((name + "x", data))
    method = zipfile.ZIP_DEFLATED if kind in ("deflated", "bomb") else zipfile.ZIP_STORED
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in members * (2 if kind == "twice" else 1):
            archive.writestr(zipfile.ZipInfo(name), data, method)
    return buffer.getvalue()


def with_code(content: bytes, canary: Path, rng: random.Random) -> bytes:
    """A pickle that calls code: in place of the file's own, before it, inside it, or alone."""
    code = pickle.dumps(Canary(canary), rng.choice((2, 2, 2, 0, 4)))
    where = rng.randrange(4)
    if where == 0:
        return code
    if where == 1:
        return torch_file({"x": Canary(canary)}, is_zip=rng.random() < 0.5)
    call = code[2:-1] if code[:1] == b"\x80" else code[:-1]

    def inside(pickled: bytes) -> bytes:
        place = rng.randrange(2, len(pickled))
        return pickled[:place] + call + (b"0" if rng.random() < 0.5 else b"") + pickled[place:]

    if not content.startswith(b"PK"):
        return inside(content)
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(buffer, "w") as new:
        for member in old.infolist():
            data = old.read(member)
            new.writestr(member, inside(data) if member.filename.endswith("data.pkl") else data)
    return buffer.getvalue()


# --- the campaign -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Damaged:
    """A damaged file, and what has to come of it."""

    content: bytes
    how: str
    must_be_refused: bool = False
    must_be_equal: bool = False


def damage(whole: Whole, canary: Path, rng: random.Random) -> Damaged:
    """One of all the ways."""
    way = rng.random()
    is_safetensors = whole.content[8:9] == b"{"
    if way < 0.5 or (way < 0.65 and not is_safetensors):
        content = bytearray(whole.content)
        mutate = rng.choice(BYTES)
        mutate(content, rng)
        return Damaged(bytes(content), "bytes", must_be_equal=whole.is_protected)
    if way < 0.65:
        content = bytearray(whole.content)
        change_header(content, rng)
        return Damaged(bytes(content), "header")
    if way < 0.85:
        content, refused = changed_tensors(whole, rng)
        return Damaged(content, "tensors", must_be_refused=refused)
    if way < 0.92:
        return Damaged(repacked(whole.content, rng), "archive")
    return Damaged(with_code(whole.content, canary, rng), "code")


def attempt(path: Path) -> CycleGAN | None:
    """What comes of a file: a model, or None if it was refused; anything else is raised."""
    model = None
    for call in (inspect_checkpoint, load_model):
        begin = time.process_time()
        try:
            model = call(path)
        except CheckpointError as error:
            model = None
            message = str(error)
            assert message.isprintable(), ascii(message)
            assert len(message) < 2100, len(message)
        seconds = time.process_time() - begin
        assert seconds < SLOWEST, f"{call.__name__} took {seconds:.1f} s"
    return model if isinstance(model, CycleGAN) else None


def same(one: CycleGAN, other: CycleGAN) -> bool:
    """Bit for bit."""
    mine, theirs = one.state_dict(), other.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[k], theirs[k]) for k in mine)


def outcomes(count: int, seed: int, folder: Path) -> Iterator[str]:
    """Damage `count` files and see; the one that fails stays in `folder`."""
    rng = random.Random(seed)
    path, canary = folder / "damaged.pth", folder / "canary"
    whole = originals(folder)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(count):
        kind = rng.choice(list(whole))
        torch.manual_seed(number)
        with warnings.catch_warnings():  # how files are made is not what is tested
            warnings.simplefilter("ignore")
            damaged = damage(whole[kind], canary, rng)
        path.write_bytes(damaged.content)
        faulthandler.dump_traceback_later(12 * SLOWEST, exit=True)
        model = attempt(path)
        faulthandler.cancel_dump_traceback_later()
        assert not canary.exists(), "code was run"
        assert not (model and damaged.must_be_refused), (number, kind, damaged.how)
        if model and damaged.must_be_equal:
            path.write_bytes(whole[kind].content)
            assert same(model, load_model(path)), (number, kind)
        yield f"{damaged.how}: {'loaded' if model else 'refused'}"
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < MOST_MEMORY, f"{grown} KB more"
    print(f"{grown} KB more")  # noqa: T201


def run(count: int, seed: int, folder: Path) -> Counter[str]:
    """How often each outcome came about."""
    return Counter(outcomes(count, seed, folder))


def main() -> None:
    """The long form."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(1)
    begin = time.process_time()
    folder = tempfile.mkdtemp()
    print(folder, flush=True)  # noqa: T201
    seen: Counter[str] = Counter()
    for number, outcome in enumerate(outcomes(options.count, options.seed, Path(folder)), 1):
        seen[outcome] += 1
        if number <= options.count and number % 500 == 0:
            print(number, dict(sorted(seen.items())), flush=True)  # noqa: T201
    print(dict(sorted(seen.items())))  # noqa: T201
    print(f"{time.process_time() - begin:.0f} s of a processor")  # noqa: T201


if __name__ == "__main__":
    main()

"""Whatever headers, settings, names and keys there are: they are understood, or refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cyclegan_core import CheckpointError, ModelConfig
from cyclegan_core.checkpoint.checkpoint import Checkpoint, GeneratorWeights, _check_fit
from cyclegan_core.checkpoint.folder import choose_names, name_direction
from cyclegan_core.checkpoint.layouts import find_generators
from cyclegan_core.checkpoint.settings import parse_config, parse_header, read_header

from . import foreign

QUICK = settings(deadline=None, max_examples=40)

NUMBERS = st.one_of(
    st.integers(), st.floats(), st.sampled_from([2**31, 2**63, 10**400, -1, 0, 1, 5, 8])
)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, st.text(max_size=9)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
SETTINGS = ModelConfig(base_channels=1, num_blocks=1).to_dict()


@QUICK
@given(st.dictionaries(st.sampled_from([*SETTINGS, "x"]), JSON, max_size=4))
def test_settings(changes: dict[str, object]) -> None:
    try:
        config = parse_config({**SETTINGS, **changes}, "net.safetensors")
    except CheckpointError:
        return
    assert parse_config(json.loads(json.dumps(config.to_dict())), "x") == config
    # Settings that are possible, but not those of these tensors.
    generators = {"a_to_b": GeneratorWeights({"model.1.weight": torch.empty(1, 3, 7, 7)})}
    with pytest.raises(CheckpointError, match=r"settings that do not fit|does not fit the network"):
        _check_fit(Checkpoint(config=config, generators=generators))


TEXTS = st.one_of(
    st.text(max_size=20), JSON.map(json.dumps), st.sampled_from(["1", "cyclegan", "{}", "[" * 9999])
)


@QUICK
@given(
    st.dictionaries(
        st.sampled_from(
            ["config", "training", "source", "format_version", "crc32", "crc32_header"]
        ),
        TEXTS,
    ),
    st.lists(st.text(max_size=12)),
)
def test_headers(texts: dict[str, str], keys: list[str]) -> None:
    whole = {"format": "cyclegan", "format_version": "1", "config": json.dumps(SETTINGS)}
    try:
        header = parse_header(whole | texts, keys, "net.safetensors")
    except CheckpointError:
        return
    assert isinstance(header.config, ModelConfig)
    assert isinstance(header.training, dict)
    assert isinstance(header.source, dict)


ENTRY = st.fixed_dictionaries(
    {
        "dtype": st.one_of(st.sampled_from(["F32", "F16", "I64", "X"]), JSON),
        "shape": st.one_of(st.lists(NUMBERS, max_size=4), JSON),
        "data_offsets": st.one_of(st.lists(NUMBERS, max_size=3), JSON),
    }
)
HEADERS = st.dictionaries(
    st.sampled_from(["gen_ab.model.1.weight", "gen_ba.x", "x", "__metadata__"]),
    st.one_of(ENTRY, JSON),
    max_size=3,
)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("headers")


@QUICK
@given(header=HEADERS, stated=st.one_of(st.none(), st.integers(0, 2**64 - 1)))
def test_headers_of_files(scratch: Path, header: dict[str, object], stated: int | None) -> None:
    """A list of models reads headers by itself; what is odd is left to the whole reader."""
    text = json.dumps(header).encode()
    path = scratch / "net.safetensors"
    length = len(text) if stated is None else stated
    path.write_bytes(length.to_bytes(8, "little") + text + bytes(64))
    assert read_header(path) is None


NETWORKS: list[dict[str, Tensor]] = [
    {key: value.to("meta") for key, value in network.state_dict().items()}
    for network in (
        foreign.upstream(blocks=1),
        foreign.upstream("batch", blocks=1, upsample=True),
        foreign.cut(blocks=1),
        foreign.mmgen(blocks=1),
        foreign.lornatang(),
        foreign.upit(blocks=1),
        foreign.unet(width=1),
    )
]
SHAPES = st.lists(st.integers(0, 9), max_size=5)
WORDS = st.sampled_from(["netG_A", "module", "ema", "G", "10", "model", "conv_block", "x", ""])


@st.composite
def changed(draw: st.DrawFn) -> dict[str, Tensor]:
    """A generator's tensors, of which a few are gone, renamed, doubled or of another shape."""
    tensors = dict(draw(st.sampled_from(NETWORKS)))
    for _ in range(draw(st.integers(1, 4))):
        key = draw(st.sampled_from(sorted(tensors)))
        value = tensors[key]
        match draw(st.integers(0, 4)):
            case 0:
                del tensors[key]
            case 1:
                tensors[key] = torch.empty(draw(SHAPES), device="meta")
            case 2:
                tensors[".".join([*draw(st.lists(WORDS, max_size=3)), key])] = value
            case 3:
                stem, _, last = key.rpartition(".")
                tensors[f"{stem}.{draw(WORDS)}.{last}"] = tensors.pop(key)
            case _:
                root = ".".join(draw(st.lists(WORDS, min_size=1, max_size=2)))
                tensors |= {f"{root}.{name}": t for name, t in tensors.items()}
        if not tensors or len(tensors) > 300:
            break
    return tensors


@QUICK
@given(changed())
def test_layouts(tensors: dict[str, Tensor]) -> None:
    """A generator that is found fits the network that it is said to be, or that is refused."""
    try:
        found = find_generators("net.pth", tensors)
        checkpoints = [
            Checkpoint(config=one.config, generators={"a_to_b": GeneratorWeights(one.tensors)})
            for one in found
        ]
        networks = [_check_fit(checkpoint)["a_to_b"] for checkpoint in checkpoints]
    except CheckpointError:
        return
    assert [n.state_dict().keys() for n in networks] == [one.tensors.keys() for one in found]


@QUICK
@given(
    st.lists(
        st.one_of(
            st.text(max_size=12),
            st.from_regex(r"[a-z_./-]{0,9}(G_A|b2a|D_B|latest)?\.(pth|pt|bin)", fullmatch=True),
        ),
        max_size=5,
    )
)
def test_names(names: list[str]) -> None:
    chosen, candidates = choose_names(names)
    assert set(chosen.values()) <= set(candidates) <= set(names)
    assert set(chosen) in ({None}, {"a_to_b", "b_to_a"}, set())
    if len(chosen) == 2:
        assert all(name_direction(name) == direction for direction, name in chosen.items())

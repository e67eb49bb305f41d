"""A GPU that is only pretended: tensors of the CPU that say they are on one.

Whatever asks a tensor for its device, or makes one on "cuda", goes the way that it goes on a GPU,
and computes real numbers; tensors of both can't be mixed. `Streams` notes in what order streams,
events and recordings were told what. This can't show that CUDA does what it is told, nor that
kernels of GPUs come to the same numbers: `benchmarks/gpu.sh` does.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

from cyclegan_core.layers import _mirrored, _mirrored_pixels

CUDA = torch.device("cuda", 0)
CPU = torch.device("cpu")
MEMORY = 10 * 2**30
"""Bytes of the pretended GPU."""


_BETWEEN = ("copy_", "__set__", "__getitem__", "__setitem__", "_has_compatible_shallow_copy_type")
"""What may have tensors of two devices."""


class PretendGpu(TorchFunctionMode):
    """While it is entered, and in its thread, there is a GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.there: Any = WeakTensorKeyDictionary()
        self.pinned: Any = WeakTensorKeyDictionary()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func == Tensor.device.__get__:  # a new object at each look
            return CUDA if args[0] in self.there else func(*args)
        if func in (torch.device, torch._C._nn._parse_to):  # words, and no tensors
            return func(*args, **kwargs)
        if func is Tensor.is_pinned:
            return args[0] in self.pinned
        if func is Tensor.pin_memory:
            assert args[0] not in self.there, "only memory of the machine can be page-locked"
            return self._pin(args[0].clone())
        pin_memory = kwargs.pop("pin_memory", False)
        args, kwargs, target = self._near(args, kwargs)
        if func is Tensor.cpu:
            target = CPU
        given = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        is_there = target == CUDA or (target is None and any(each in self.there for each in given))
        if target is None and func.__name__ not in _BETWEEN and is_there:
            here = [each for each in given if each not in self.there and each.dim() > 0]
            assert not here, f"{func.__name__} of tensors on two devices"
        result = func(*args, **kwargs)
        if func == Tensor.data.__set__:
            self._put(args[0], is_there=args[1] in self.there)
            return result
        is_same = target is not None and isinstance(result, Tensor) and result is args[0]
        if is_same and (result in self.there) != is_there:
            result = result.detach().clone()  # moved: no longer the same memory
        for each in tree_leaves(result):
            if isinstance(each, Tensor) and not any(each is one for one in given):
                self._put(each, is_there=is_there)
        return self._pin(result) if pin_memory else result

    def _near(self, args: Any, kwargs: Any) -> tuple[Any, Any, torch.device | None]:
        """The arguments with "cpu" for "cuda", and which of them was named."""
        named: list[torch.device] = []

        def near(each: Any) -> Any:
            if isinstance(each, str) and each.partition(":")[0] in ("cuda", "cpu"):
                each = torch.device(each)
            if isinstance(each, torch.device):
                named.append(CUDA if each.type == "cuda" else each)
                return CPU if each.type == "cuda" else each
            return each

        kwargs = {key: near(value) if key == "device" else value for key, value in kwargs.items()}
        return tuple(map(near, args)), kwargs, named[-1] if named else None

    def _put(self, tensor: Tensor, *, is_there: bool) -> None:
        if is_there:
            self.there[tensor] = True
        else:
            self.there.pop(tensor, None)

    def _pin(self, tensor: Tensor) -> Tensor:
        self.pinned[tensor] = True
        return tensor


class Stream:
    """A queue of work, which here is done at once; what it is told is noted."""

    def __init__(self, log: list[str], name: str) -> None:
        self.log, self.name = log, name

    def wait_stream(self, other: Stream) -> None:
        self.log.append(f"{self.name} waits for {other.name}")

    def synchronize(self) -> None:
        self.log.append(f"the host waits for {self.name}")


class Event:
    """A mark in a queue."""

    def __init__(self, log: list[str]) -> None:
        self.log = log

    def record(self, stream: Stream) -> None:
        self.log.append(f"a mark in {stream.name}")

    def synchronize(self) -> None:
        self.log.append("the host waits for a mark")


class Graph:
    """A recording, which can't be played."""


class Streams:
    """`torch.cuda` as far as it is used; `log` has what happened, in order."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.main = self.current = Stream(self.log, "main")
        self.free, self.reserved, self.allocated = MEMORY, 0, 0
        self.bfloat16 = True
        self.capability = 8, 0
        self.is_capturing = False
        self._count = 0

    def Stream(self, device: torch.device) -> Stream:  # noqa: N802 - torch's name
        assert device.type == "cuda"
        self._count += 1
        return Stream(self.log, f"side {self._count}")

    def Event(self) -> Event:  # noqa: N802
        return Event(self.log)

    @contextmanager
    def stream(self, stream: Stream) -> Generator[None]:
        before, self.current = self.current, stream
        try:
            yield
        finally:
            self.current = before

    @contextmanager
    def graph(self, graph: Graph, *, stream: Stream, capture_error_mode: str) -> Generator[None]:
        assert capture_error_mode == "thread_local", "other threads may pin memory"
        self.log.append(f"recording on {stream.name}")
        self.current = stream  # which a recording that fails leaves so
        self.is_capturing = True
        try:
            yield
        finally:
            self.is_capturing = False
        self.current = self.main

    @contextmanager
    def device(self, device: torch.device) -> Generator[None]:
        assert device.type == "cuda"
        yield

    def set_stream(self, stream: Stream) -> None:
        self.current = stream

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Take the place of torch.cuda's functions."""
        for kept in (_mirrored, _mirrored_pixels):
            kept.cache_clear()  # what an earlier GPU had in its memory
        state = torch.Generator()
        said = {
            "CUDAGraph": Graph,
            "Event": self.Event,
            "Stream": self.Stream,
            "current_stream": lambda _=None: self.current,
            "device": self.device,
            "device_count": lambda: 1,
            "empty_cache": lambda: self.log.append("the cache is emptied"),
            "get_device_capability": lambda _: self.capability,
            "get_device_name": lambda _: "Pretended GPU",
            "get_rng_state": lambda _="cuda": state.get_state(),
            "graph": self.graph,
            "is_available": lambda: True,
            "is_current_stream_capturing": lambda: self.is_capturing,
            "is_bf16_supported": lambda including_emulation=True: self.bfloat16,
            "mem_get_info": lambda _: (self.free, MEMORY),
            "memory.memory_stats_as_nested_dict": lambda _: {
                "allocated_bytes": {"all": {"current": self.allocated}},
                "reserved_bytes": {"all": {"current": self.reserved}},
            },
            "set_rng_state": lambda value, _="cuda": state.set_state(value),
            "set_stream": self.set_stream,
            "stream": self.stream,
            "synchronize": lambda _=None: self.log.append("the host waits"),
        }
        for name, fake in said.items():
            monkeypatch.setattr(f"torch.cuda.{name}", fake)
        # Autocast would say that there is no GPU, and optimisers would ask its driver.
        monkeypatch.setattr("torch.cuda.amp.common.amp_definitely_not_available", bool)
        for name in ("_accelerator_graph_capture_health_check", "_cuda_graph_capture_health_check"):
            monkeypatch.setattr(torch.optim.Optimizer, name, lambda _: None, raising=False)

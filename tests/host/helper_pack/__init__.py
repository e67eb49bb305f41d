"""Nodes that only tests use, loaded by ComfyUI beside the pack."""

from __future__ import annotations

import collections
import contextlib
import copy
import json
import sys

import comfy.model_management
import torch
from comfy_api.latest import ComfyExtension, io
from torch.utils._python_dispatch import TorchDispatchMode


def schema(node_id: str, display_name: str, source: io.Input, result: io.Output) -> io.Schema:
    """Of a node that makes one thing of another."""
    return io.Schema(
        node_id=node_id,
        display_name=display_name,
        category="host test",
        inputs=[source],
        outputs=[result],
    )


class ToHalf(io.ComfyNode):
    """IMAGE as newer hosts may hand it on: float16."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "HostTest_ToHalf", "To half precision", io.Image.Input("image"), io.Image.Output()
        )

    @classmethod
    def execute(cls, image) -> io.NodeOutput:
        return io.NodeOutput(image.half())


class TrainSettings(io.ComfyNode):
    """Settings for Train that the widgets of CycleGAN Train Settings would not allow."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "HostTest_TrainSettings",
            "Any train settings",
            io.String.Input("text"),
            io.Custom("CYCLEGAN_TRAIN_SETTINGS").Output(),
        )

    @classmethod
    def execute(cls, text) -> io.NodeOutput:
        return io.NodeOutput(json.loads(text))


class Losses(io.ComfyNode):
    """Losses as another trainer may give them."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "HostTest_Losses", "Any losses", io.String.Input("text"), io.Custom("LOSS_MAP").Output()
        )

    @classmethod
    def execute(cls, text) -> io.NodeOutput:
        return io.NodeOutput(json.loads(text))


class CopyInInferenceMode(io.ComfyNode):
    """A model as a node makes it that does not leave the host's inference mode."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "HostTest_CopyModel",
            "Copy a model",
            io.Custom("CYCLEGAN").Input("model"),
            io.Custom("CYCLEGAN").Output(),
        )

    @classmethod
    def execute(cls, model) -> io.NodeOutput:
        result = copy.deepcopy(model)
        assert all(parameter.is_inference() for parameter in result.parameters())
        return io.NodeOutput(result)


COUNTS: collections.Counter[str] = collections.Counter()


class CountWalks(io.ComfyNode):
    """How often a folder was listed since the host began; `salt` makes it count anew."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        result = schema(
            "HostTest_CountWalks", "Count walks", io.String.Input("folder"), io.Int.Output()
        )
        result.inputs.append(io.String.Input("salt"))
        return result

    @classmethod
    def execute(cls, folder, salt) -> io.NodeOutput:
        return io.NodeOutput(COUNTS[folder])


def _count(event: str, arguments: tuple) -> None:
    if event == "os.scandir":
        COUNTS[str(arguments[0])] += 1


sys.addaudithook(_count)


class _Fault(TorchDispatchMode):
    """Something happens at an operation of torch in this thread, and then no more."""

    def __init__(self) -> None:
        super().__init__()
        self.what, self.left, self.is_on = "nothing", 0, False

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if self.left > 0:
            self.left -= 1
            if self.left == 0:
                if self.what == "memory":
                    raise torch.OutOfMemoryError("Out of memory, as was asked for.")
                comfy.model_management.unload_all_models()
        return func(*args, **(kwargs or {}))


FAULT = _Fault()


class Fault(io.ComfyNode):
    """Exhaust the memory, or evict all models, at an operation of torch from now.

    Gives how many operations the last order still lacked.
    """

    @classmethod
    def define_schema(cls) -> io.Schema:
        result = schema("HostTest_Fault", "Plan a fault", io.String.Input("what"), io.Int.Output())
        result.inputs += [io.Int.Input("at"), io.String.Input("salt")]
        return result

    @classmethod
    def execute(cls, what, at, salt) -> io.NodeOutput:
        left, FAULT.left = FAULT.left, 0
        if not FAULT.is_on:
            FAULT.is_on = True
            FAULT.__enter__()  # and never left: this thread runs all prompts
        FAULT.what, FAULT.left = what, at
        return io.NodeOutput(left)


class HalfLoaded(io.ComfyNode):
    """What the pack's loan does with a model that a host's loader left half on the CPU.

    The GPU is torch's device "meta", on which tensors have shapes alone. Gives JSON: where weights
    were in the loan, the shape of a translation there, and where they were moved afterwards.
    """

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "HostTest_HalfLoaded",
            "Borrow a model that is half loaded",
            io.Custom("CYCLEGAN").Input("model"),
            io.String.Output(),
        )

    @classmethod
    def execute(cls, model) -> io.NodeOutput:
        mm = comfy.model_management
        (pack,) = (module for name, module in sys.modules.items() if name.endswith(".nodes.host"))
        gpu, moves = torch.device("meta"), []

        def load(patchers, **_):
            """As some hosts do: three of four layers stay where they were."""
            layers = [layer for layer in patchers[0].model.modules() if layer._parameters]
            for layer in layers[1::4]:
                layer.to(gpu)

        with torch.inference_mode(mode=False):
            model = copy.deepcopy(model)
        model.to = lambda device: (
            moves.append(str(device))
            or (torch.nn.Module.to(model, device) if device == gpu else model)
        )
        with (
            replaced(
                mm,
                get_torch_device=lambda: gpu,
                get_total_memory=lambda _: 2**30,
                load_models_gpu=load,
            ),
            pack.lease(model, (1, 8, 8), torch.float32) as lent,
        ):
            found = {str(parameter.device) for parameter in lent.parameters()}
            made = lent.gen_ab(torch.zeros(1, 3, 8, 8, device=gpu))
        return io.NodeOutput(json.dumps([sorted(found), list(made.shape), moves]))


class OnGpu(io.ComfyNode):
    """What the pack chooses where the host has a GPU: here torch's device "meta".

    Gives JSON: free bytes; the number format of a translation and of a training on a GPU that the
    host thinks good at bf16, at fp16, at neither; where pictures go, and in what.
    """

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "HostTest_OnGpu",
            "What is chosen on a GPU",
            io.Custom("CYCLEGAN").Input("model"),
            io.String.Output(),
        )

    @classmethod
    def execute(cls, model) -> io.NodeOutput:
        mm = comfy.model_management
        (pack,) = (module for name, module in sys.modules.items() if name.endswith(".nodes.host"))
        gpu, told, formats = torch.device("meta"), [], []
        there = {"get_torch_device": lambda: gpu, "get_free_memory": lambda _: 12345}
        there |= {name: lambda name=name: told.append(name) for name in EMPTIED}
        with replaced(mm, **there, intermediate_device=lambda: gpu):
            for bf16, fp16 in ((True, True), (False, True), (False, False)):
                better = {"should_use_bf16": lambda *_, is_good=bf16, **__: is_good}
                better |= {"should_use_fp16": lambda *_, is_good=fp16, **__: is_good}
                with replaced(mm, **better):
                    translates = pack.how_to_translate(model, "auto", "auto", "auto")[2]
                    formats.append([str(translates), str(pack.training_dtype())])
            with pack.training_device() as device:
                told.append(str(device))
            made = pack.to_bhwc(torch.zeros(1, 1, 8, 8))
            facts = [pack.limits().free_bytes, formats, pack.trains_on_cpu(), told]
        return io.NodeOutput(json.dumps([*facts, str(made.device), list(made.shape)]))


EMPTIED = ("unload_all_models", "soft_empty_cache")
"""What the host does to make room."""


@contextlib.contextmanager
def replaced(module, **values):
    """Other values in a module for a while."""
    before = {name: getattr(module, name) for name in values}
    vars(module).update(values)
    try:
        yield
    finally:
        vars(module).update(before)


class HostTestExtension(ComfyExtension):
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        plain = [ToHalf, TrainSettings, Losses, CopyInInferenceMode, CountWalks]
        return [*plain, Fault, HalfLoaded, OnGpu]


async def comfy_entrypoint() -> HostTestExtension:
    return HostTestExtension()

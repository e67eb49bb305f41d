"""Nodes that only the host tests use, loaded by ComfyUI beside the pack."""

import copy
import json

from comfy_api.latest import ComfyExtension, io


class ToHalf(io.ComfyNode):
    """IMAGE as newer hosts may hand it on: float16."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="HostTest_ToHalf",
            display_name="To half precision",
            category="host test",
            inputs=[io.Image.Input("image")],
            outputs=[io.Image.Output()],
        )

    @classmethod
    def execute(cls, image) -> io.NodeOutput:
        return io.NodeOutput(image.half())


class TrainSettings(io.ComfyNode):
    """Settings for Train that the widgets of CycleGAN Train Settings would not allow."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="HostTest_TrainSettings",
            display_name="Any train settings",
            category="host test",
            inputs=[io.String.Input("text")],
            outputs=[io.Custom("CYCLEGAN_TRAIN_SETTINGS").Output()],
        )

    @classmethod
    def execute(cls, text) -> io.NodeOutput:
        return io.NodeOutput(json.loads(text))


class Losses(io.ComfyNode):
    """Losses as another trainer may give them."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="HostTest_Losses",
            display_name="Any losses",
            category="host test",
            inputs=[io.String.Input("text")],
            outputs=[io.Custom("LOSS_MAP").Output()],
        )

    @classmethod
    def execute(cls, text) -> io.NodeOutput:
        return io.NodeOutput(json.loads(text))


class CopyInInferenceMode(io.ComfyNode):
    """A model as a node makes it that does not leave the host's inference mode."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="HostTest_CopyModel",
            display_name="Copy a model",
            category="host test",
            inputs=[io.Custom("CYCLEGAN").Input("model")],
            outputs=[io.Custom("CYCLEGAN").Output()],
        )

    @classmethod
    def execute(cls, model) -> io.NodeOutput:
        result = copy.deepcopy(model)
        assert all(parameter.is_inference() for parameter in result.parameters())
        return io.NodeOutput(result)


class HostTestExtension(ComfyExtension):
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [ToHalf, TrainSettings, Losses, CopyInInferenceMode]


async def comfy_entrypoint() -> HostTestExtension:
    return HostTestExtension()

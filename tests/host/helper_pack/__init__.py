"""Nodes that only the host tests use, loaded by ComfyUI beside the pack."""

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


class HostTestExtension(ComfyExtension):
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [ToHalf]


async def comfy_entrypoint() -> HostTestExtension:
    return HostTestExtension()

"""A model that leaves home: one direction as an ONNX file, or as a program of torch.export (.pt2).

Whoever runs such a file needs nothing of this package: pictures go in and come out in [0,1], of any
batch, height and width. What `translate` does around a network is part of the file.
"""

from __future__ import annotations

import copy
import io
import json
import logging
import warnings
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
import torch.fx.experimental._config as export_settings
from torch import Tensor, nn

from ._version import __version__
from .config import Direction, ModelConfig
from .errors import CycleGANError, reason
from .files import atomic_write
from .layers import BatchNorm, InstanceNorm
from .model import CycleGAN
from .pixels import to_unit_range, to_value_range
from .translation.whole_pass import whole_pass

if TYPE_CHECKING:
    from torch.export import ExportedProgram

Format = Literal["onnx", "pt2"]

OPSET = 20
"""Of the ONNX standard; onnxruntime knows it since 1.17, onnxruntime-web too."""

_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
"""What writes an ONNX file, and what checks it."""

_AXES = {0: "batch", 2: "height", 3: "width"}
_INPUT, _OUTPUT = "images", "translations"

_MOST_ERROR = {False: 1e-4, True: 1e-2}
"""The largest mean error that is let through, without and with half precision."""


@dataclass(frozen=True, slots=True)
class CheckedSize:
    """How far an exported file is from PyTorch on pictures of one size; errors are of [0,1]."""

    batch: int
    height: int
    width: int
    largest_error: float
    mean_error: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportReport:
    """What was written."""

    path: Path
    format: Format
    """"onnx", or "pt2": a program of torch.export."""
    direction: Direction
    half: bool
    """Whether weights and feature maps are float16."""
    bytes: int
    checked: tuple[CheckedSize, ...]
    """What the file gave for pictures of several sizes, compared with PyTorch in float32."""

    @property
    def largest_error(self) -> float:
        """The largest difference of any number at any size."""
        return max(size.largest_error for size in self.checked)

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON-ready values."""
        return {**asdict(self), "path": str(self.path), "largest_error": self.largest_error}


class PortableGenerator(nn.Module):
    """A generator with the border inside: pictures in [0,1] of any size to such pictures.

    The arithmetic is that of `pixels`, written so that it can be recorded for all sizes at once.
    """

    def __init__(self, network: nn.Module, config: ModelConfig, *, half: bool = False) -> None:
        """`network` is copied, to the CPU, in eval mode, with weights of float32 or float16."""
        super().__init__()
        dtype = torch.float16 if half else torch.float32
        self.network = copy.deepcopy(network).to("cpu", dtype).eval().requires_grad_(False)
        for module in self.network.modules():
            if isinstance(module, (BatchNorm, InstanceNorm)):
                module.float()
        self.config = config
        self.dtype = dtype

    def forward(self, images: Tensor) -> Tensor:
        """(B,C,H,W) float32 in [0,1] -> (B,C',H,W) float32 in [0,1]."""
        height, width = images.shape[-2:]
        rows, columns = self.config.padded_size(height, width)
        padded = _taken(images, _mirrored(height, rows), _mirrored(width, columns))
        output = self.network(to_value_range(padded, self.config).to(self.dtype))
        # Indices, because a slice would bind the sizes that were recorded to each other.
        cropped = _taken(output, torch.arange(height), torch.arange(width))
        return to_unit_range(cropped)


def _taken(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    return x.index_select(2, rows).index_select(3, columns)


def _mirrored(size: int, padded: int) -> Tensor:
    """Which rows (or columns) `pixels.pad` makes of `size` ones: mirrored, then the first again."""
    place = torch.arange(padded)
    return torch.minimum(place, 2 * size - 2 - place).clamp(min=0)


def export_model(
    model: CycleGAN,
    path: str | Path,
    direction: Direction | None = None,
    *,
    half: bool = False,
    facts: Mapping[str, str] | None = None,
) -> ExportReport:
    """Write one direction of a model as a file that runs without this package; all or nothing.

    The file takes (B,C,H,W) float32 in [0,1] of any batch, height and width, and gives the
    translation likewise; C is the source domain's channels. Range, padding and norm statistics
    (float32 at least) are inside. Before it appears it is run at four sizes, odd ones too, and
    compared with PyTorch.

    Args:
        model: in eval mode if it has batch norms; it stays as it is.
        path: ends in .onnx (needs the packages of `cyclegan[onnx]`) or in .pt2, for
            `torch.export.load(path).module()`. A file that is there is replaced.
        direction: which of the generators; needed only if there are two, A to B by default.
        half: weights and feature maps in float16: half the size.
        facts: more to note in the file, such as a licence.

    Raises:
        ValueError: another ending, or no such direction.
        MissingDirectionError: there is no generator for `direction`.
        CycleGANError: the file can't be written, a package is missing, batch norms are in training
            mode, or what was written is not near enough to what PyTorch computes.
    """
    path = Path(path)
    format = export_format(path)
    direction = model.directions[0] if direction is None else direction
    network = model.generator(direction)
    if any(isinstance(module, BatchNorm) and module.training for module in network.modules()):
        raise CycleGANError(
            "The model was not exported because its batch norms are in training mode, in which "
            "they take their statistics from each batch; call model.eval() first."
        )
    write = _onnx_bytes if format == "onnx" else _pt2_bytes
    checked: list[CheckedSize] = []
    size = 0

    def make(temporary: Path) -> None:
        nonlocal size
        with torch.no_grad(), torch.inference_mode(mode=False), _quiet():
            program = _recorded(PortableGenerator(network, model.config, half=half))
            content = write(program, _metadata(model, direction, half=half, facts=facts or {}))
            checked.extend(_check(content, format, model, direction, half=half))
        size = temporary.write_bytes(content)

    # The name is taken first, so that a folder that can't be written to is no late surprise.
    atomic_write(path, make)
    return ExportReport(
        path=path,
        format=format,
        direction=direction,
        half=half,
        bytes=size,
        checked=tuple(checked),
    )


def export_format(path: Path) -> Format:
    """The format that a file's name asks for.

    Raises:
        ValueError: it asks for none of the two.
        CycleGANError: a package is missing.
    """
    if path.suffix == ".pt2":
        return "pt2"
    if path.suffix != ".onnx":
        raise ValueError(f"a model is exported as .onnx or .pt2; got the name {path.name!r}.")
    missing = [package for package in _PACKAGES if find_spec(package) is None]
    if missing:
        raise CycleGANError(
            f"An ONNX file needs {' and '.join(missing)}; install with: "
            'pip install "cyclegan[onnx]".'
        )
    return "onnx"


def _recorded(generator: PortableGenerator) -> ExportedProgram:
    """The generator's operations, for every batch, height and width.

    Raises:
        CycleGANError: this PyTorch can't record them, as 2.7 can't.
    """
    channels = next(m for m in generator.modules() if isinstance(m, nn.Conv2d)).in_channels
    example = torch.zeros(2, channels, 37, 53)
    axes = {axis: torch.export.Dim(name) for axis, name in _AXES.items()}
    # Otherwise a map of one pixel, as small pictures have inside a U-Net, would be another program.
    setting = cast(Any, export_settings).patch(backed_size_oblivious=True)
    try:
        with setting:
            program = torch.export.export(generator, (example,), dynamic_shapes=(axes,))
    except RuntimeError as error:
        why = reason(error).partition("\n")[0].rstrip(".!")
        raise CycleGANError(
            f"PyTorch {torch.__version__} can't export this model for pictures of every size "
            f"({why}); install a newer PyTorch."
        ) from None
    for node in program.graph.nodes:  # the folders of this computer are nobody's business
        node.meta.pop("stack_trace", None)
    return program


def _onnx_bytes(program: ExportedProgram, metadata: Mapping[str, str]) -> bytes:
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass

    exported = torch.onnx.export(
        program,
        dynamo=True,
        opset_version=OPSET,
        input_names=[_INPUT],
        output_names=[_OUTPUT],
        dynamic_shapes=(_AXES,),
        verbose=False,
    )
    assert exported is not None
    ClearMetadataAndDocStringPass()(exported.model)  # notes of how each node was recorded
    # The recorder numbers its axes; people and programs read names.
    for value in (*exported.model.graph.inputs, *exported.model.graph.outputs):
        assert value.shape is not None
        for axis, name in _AXES.items():
            value.shape[axis] = name
    exported.model.producer_name = "cyclegan"
    exported.model.producer_version = __version__
    exported.model.metadata_props.update(metadata)
    proto = exported.model_proto
    return proto.SerializeToString()


def _pt2_bytes(program: ExportedProgram, metadata: Mapping[str, str]) -> bytes:
    content = io.BytesIO()
    torch.export.save(program, content, extra_files={"cyclegan.json": json.dumps(metadata)})
    return content.getvalue()


def _metadata(
    model: CycleGAN, direction: Direction, *, half: bool, facts: Mapping[str, str]
) -> dict[str, str]:
    """What a file says about itself, in texts."""
    source, target = model.config.domains(direction)
    pictures = "(batch, channels, height, width) float32 in [0,1], RGB or grey, any size"
    return {
        "format": "cyclegan export",
        "cyclegan_version": __version__,
        "direction": direction,
        "source_domain": source,
        "target_domain": target,
        "input": pictures,
        "output": pictures,
        "precision": "float16" if half else "float32",
        "config": json.dumps(model.config.to_dict(), sort_keys=True),
        "training": json.dumps(model.training_info, sort_keys=True),
        **facts,
    }


def _check(
    content: bytes, format: Format, model: CycleGAN, direction: Direction, *, half: bool
) -> list[CheckedSize]:
    """Run the file and PyTorch on the same pictures.

    Raises:
        CycleGANError: they differ too much.
    """
    run = _onnx_runner(content) if format == "onnx" else _pt2_runner(content)
    config = model.config
    channels = config.channels(direction)[0]
    network = copy.deepcopy(model.generator(direction)).to("cpu", torch.float32).eval()
    noise = torch.Generator().manual_seed(0)
    checked: list[CheckedSize] = []
    for batch, height, width in _sizes(config):
        images = torch.rand(batch, channels, height, width, generator=noise)
        expected = whole_pass(network, config, channels, images, None, "none")
        found = run(images)
        assert found.shape == expected.shape, (found.shape, expected.shape)
        error = (found - expected).abs()
        size = CheckedSize(batch, height, width, error.max().item(), error.mean().item())
        if not size.mean_error <= _MOST_ERROR[half]:  # NaN is never
            raise CycleGANError(
                f"The model was not exported because the file would differ from PyTorch by "
                f"{size.mean_error:.2g} of [0,1] in the mean for {width}×{height}; "
                + ("export it without half precision." if half else "report it as a fault.")
            )
        checked.append(size)
    return checked


def _sizes(config: ModelConfig) -> list[tuple[int, int, int]]:
    """Batch, height and width: a tiny picture, odd sides, several pictures, whole multiples."""
    multiple = config.size_multiple
    return [(1, 1, 2), (2, 37, 53), (1, 2 * multiple, 3 * multiple), (1, multiple + 61, 130)]


def _onnx_runner(content: bytes) -> Callable[[Tensor], Tensor]:
    import onnxruntime  # pyright: ignore[reportMissingTypeStubs] - it has none

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run(None, {_INPUT: images.numpy()})[0])


def _pt2_runner(content: bytes) -> Callable[[Tensor], Tensor]:
    program = torch.export.load(io.BytesIO(content)).module()
    return lambda images: cast(Tensor, program(images))


@contextmanager
def _quiet() -> Generator[None]:
    """What the exporter remarks about itself is for its authors."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)

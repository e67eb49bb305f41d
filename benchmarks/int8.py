"""Whether 8-bit convolutions pay on a CPU: an exported model quantised by onnxruntime.

    python benchmarks/int8.py MODEL PICTURES [--direction a_to_b] [--size 256] [--pictures 8]
                              [--sheet FILE] [--threads 1] [--clock processor] [--json FILE]

Weights have a scale per channel, activations one each, which 16 of the pictures decide (their
99.999th percentile); norms, transposed and the outer 7×7 convolutions stay in fp32. Other pictures
are then translated by both files and by `translate` in fp32 and bf16, in turns, cropped to squares
of `--size`. Told are medians of the seconds, and the PSNR to the fp32 result. Needs the extra onnx.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from common import add_options, seconds_of, tell_machine, write_json
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    quantize_static,
)
from PIL import Image

from cyclegan_core import CycleGAN, Direction, export_model, load_model
from cyclegan_core.hub.catalog import find_local
from cyclegan_core.pictures import find_pictures

Side = Callable[[np.ndarray], np.ndarray]

CALIBRATION = 16
"""Pictures that decide the scales of activations."""


class Pictures(CalibrationDataReader):
    """What onnxruntime reads pictures from."""

    def __init__(self, arrays: list[np.ndarray], name: str) -> None:
        self._rest: Iterator[dict[str, np.ndarray]] = iter([{name: array} for array in arrays])

    def get_next(self) -> dict[str, Any]:
        """One picture; nothing at the end."""
        return next(self._rest, {})


def main() -> None:
    """Measure and print the table."""
    options = parse()
    torch.set_num_threads(options.threads)
    tell_machine(options)
    paths = list(find_pictures(options.folder))
    every = max(1, len(paths) // (CALIBRATION + options.pictures))
    arrays = [read(path, options.size) for path in paths[::every]]
    calibration, unseen = arrays[:CALIBRATION], arrays[CALIBRATION:][: options.pictures]
    model = load_model(find_local(options.model), direction=options.direction)
    with tempfile.TemporaryDirectory() as name:
        exact, small = Path(name, "fp32.onnx"), Path(name, "int8.onnx")
        export_model(model, exact, direction=options.direction)
        quantise(exact, small, calibration)
        sides = {"onnx fp32": session(exact, options), "onnx int8": session(small, options)}
        sides["torch fp32"] = by_torch(model, options.direction, torch.float32)
        sides["torch bf16"] = by_torch(model, options.direction, torch.bfloat16)
        rows = compare(sides, unseen, options)
    write_json(options, {"model": options.model, "size": options.size, "rows": rows})


def parse() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="a name of `cyclegan list`, or a weight file")
    parser.add_argument("folder", type=Path, help="pictures, 24 or more")
    parser.add_argument("--direction", choices=["a_to_b", "b_to_a"], default="a_to_b")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--pictures", type=int, default=8)
    parser.add_argument("--sheet", type=Path, help="write fp32 | int8 of the first pictures")
    add_options(parser)
    return parser.parse_args()


def read(path: Path, size: int) -> np.ndarray:
    """The middle square of a picture: (1,3,size,size) float32 in [0,1]."""
    with Image.open(path) as image:
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        square = image.convert("RGB").crop((left, top, left + side, top + side))
    pixels = np.asarray(square.resize((size, size), Image.Resampling.BICUBIC), dtype=np.float32)
    return pixels.transpose(2, 0, 1)[None] / 255


def quantise(source: Path, target: Path, calibration: list[np.ndarray]) -> None:
    """Write an ONNX file with 8-bit convolutions, but for those of the picture's own channels."""
    graph = onnx.load(source).graph
    sizes = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    outer = [
        node.name
        for node in graph.node
        if node.op_type == "Conv" and sizes.get(node.input[1], [7])[-1] == 7
    ]
    quantize_static(
        source,
        target,
        Pictures(calibration, graph.input[0].name),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        op_types_to_quantize=["Conv"],
        nodes_to_exclude=outer,
        calibrate_method=CalibrationMethod.Percentile,
    )


def session(path: Path, options: argparse.Namespace) -> Side:
    """A function from pictures to pictures."""
    how = onnxruntime.SessionOptions()
    how.intra_op_num_threads, how.inter_op_num_threads = options.threads, 1
    running = onnxruntime.InferenceSession(path, how, providers=["CPUExecutionProvider"])
    (name,) = (node.name for node in running.get_inputs())
    return lambda array: running.run(None, {name: array})[0]


def by_torch(model: CycleGAN, direction: Direction, dtype: torch.dtype) -> Side:
    """`translate`, from array to array."""

    def translate(array: np.ndarray) -> np.ndarray:
        images = torch.from_numpy(array)
        return model.translate(images, direction, memory="whole", dtype=dtype).numpy()

    return translate


def compare(
    sides: dict[str, Side], pictures: list[np.ndarray], options: argparse.Namespace
) -> list[dict[str, Any]]:
    """All sides in turns on every picture; a line for each side."""
    for run in sides.values():
        run(pictures[0])
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    decibels: dict[str, list[float]] = {name: [] for name in sides}
    results: dict[str, np.ndarray] = {}
    strips: list[np.ndarray] = []
    for picture in pictures:
        for name, run in sides.items():

            def once(name: str = name, run: Side = run, picture: np.ndarray = picture) -> None:
                results[name] = run(picture)

            seconds[name].append(seconds_of(once, options))
        for name, result in results.items():
            error = float(np.square(result - results["onnx fp32"]).mean())
            decibels[name].append(-10 * np.log10(max(error, 1e-12)))
        strips.append(np.concatenate([results["onnx fp32"][0], results["onnx int8"][0]], axis=2))
    if options.sheet:
        sheet = np.concatenate(strips[:3], axis=1).transpose(1, 2, 0).clip(0, 1)
        Image.fromarray((sheet * 255).round().astype(np.uint8)).save(options.sheet)
    rows: list[dict[str, Any]] = []
    for name in sides:
        middle, psnr, least = median(seconds[name]), mean(decibels[name]), min(decibels[name])
        rows.append({"side": name, "seconds": middle, "psnr": psnr, "least_psnr": least})
        print(f"{name:12}{1e3 * middle:8.0f} ms  PSNR to fp32 {psnr:6.1f} dB, least {least:.1f}")
    return rows


if __name__ == "__main__":
    main()

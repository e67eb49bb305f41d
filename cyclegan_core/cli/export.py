"""`cyclegan export`: one direction of a model as a file for other programs."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from rich.console import Console

from ..config import Direction
from ..errors import CycleGANError, plain
from ..hub.catalog import bundled_license
from ..pictures.files import file_id
from .common import find_with_bar, optional, print_text

if TYPE_CHECKING:
    from ..export import ExportReport


@dataclass(frozen=True, kw_only=True)
class Export:
    """Write one direction as ONNX or for torch.export, to run without this package.

    It takes and gives pictures (batch, channels, height, width) in [0,1], float32.

    It is compared with PyTorch before it appears, and the difference is told.
    """

    model: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="MODEL")]]
    """A weight file of any known layout, a folder with one, a name of `cyclegan list`, or
    hub:owner/repo."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """The file to write: .onnx (pip install "cyclegan[onnx]") or .pt2."""
    direction: Annotated[
        Direction | None, optional("a_to_b|b_to_a"), tyro.conf.arg(aliases=["-d"])
    ] = None
    """Which direction of a model that has both; a_to_b if not given."""
    half: bool = False
    """Weights and feature maps in half precision: half the size, about three decimal digits."""
    license: Annotated[str | None, optional("NAME")] = None
    """To note in the file, for example mit; by default what is known of the model's."""
    overwrite: bool = False
    """Replace the file if it exists."""
    json: bool = False
    """Print a report for programs."""

    def run(self) -> int:
        """Export, check, and say how near it came; returns the exit code."""
        if file_id(self.out) and not self.overwrite:
            raise CycleGANError(f"{self.out} exists; add --overwrite to replace it.")
        path = find_with_bar(self.model, hidden=self.json)

        from ..checkpoint.checkpoint import read_checkpoint
        from ..export import export_format, export_model
        from ..model import CycleGAN

        export_format(self.out)  # what is wrong with the name is said at once
        checkpoint = read_checkpoint(path, direction=self.direction or "a_to_b")
        facts: dict[str, str] = {}
        if license := self.license or checkpoint.license or bundled_license(path):
            facts["license"] = license
        if checkpoint.source:
            facts["source"] = json.dumps(checkpoint.source, sort_keys=True)
        model = CycleGAN.from_checkpoint(checkpoint)
        console = Console(stderr=True, quiet=self.json)
        told = "exporting, which takes about half a minute"
        if not console.is_terminal:
            print_text(console, told)
        with console.status(told):
            report = export_model(model, self.out, self.direction, half=self.half, facts=facts)
        if self.json:
            sys.stdout.write(json.dumps(report.to_dict()) + "\n")
        else:
            source, target = model.config.domains(report.direction)
            sys.stdout.write(plain(_sentence(report, f"{source} → {target}")) + "\n")
        return 0


def _sentence(report: ExportReport, arrow: str) -> str:
    sizes = ", ".join(f"{size.width}×{size.height}" for size in report.checked)
    return (
        f"{report.path}: {arrow}, {report.bytes / 1e6:.1f} MB; it differs from PyTorch by at most "
        f"{report.largest_error:.1e} of [0,1] at {sizes}"
    )

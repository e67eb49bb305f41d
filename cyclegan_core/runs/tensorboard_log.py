"""The optional TensorBoard log of a run: losses, learning rate and sample grids."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from ..training.trainer import StepReport


class TensorBoardLog:
    """Writes event files into `<run>/tensorboard`; needs the extra `tensorboard`."""

    def __init__(self, run_dir: Path) -> None:
        """Open a new event file.

        Raises:
            ValueError: TensorBoard is not installed.
        """
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise ValueError(
                "TensorBoard is not installed; install it with: pip install tensorboard."
            ) from None
        self._writer = SummaryWriter(run_dir / "tensorboard")
        self._shown: Path | None = None

    def on_step(self, report: StepReport, samples: Path | None) -> None:
        """Log a step, and the newest sample grid if it is another one than before."""
        for name, term in report.losses._asdict().items():
            self._writer.add_scalar(f"loss/{name}", float(term), report.step)
        self._writer.add_scalar("lr", report.lr, report.step)
        if samples is not None and samples != self._shown:
            self._shown = samples
            with Image.open(samples) as grid:
                pixels = np.array(grid)
            self._writer.add_image("samples", pixels, report.step, dataformats="HWC")

    def close(self) -> None:
        """Flush and close the event file."""
        self._writer.close()

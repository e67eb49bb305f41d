"""Distillation: a small fast student learns what a large model does to the user's own pictures.

- `student`: the whole way, from a teacher and a folder of pictures to the student's file.
- `pairs`: crops and what the teacher makes of them, made once and kept.
- `self_ensemble`: a teacher's cleaner output, the median over shifted and mirrored views.
- `comparison`: how close the student is on pictures held out, and how much faster.
"""

from typing import TYPE_CHECKING

from .._lazy import lazy_names
from ..config import DistillConfig

if TYPE_CHECKING:
    from .comparison import Comparison
    from .pairs import weights_digest
    from .student import WORK_SUFFIX, distill
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        comparison=("Comparison",),
        pairs=("weights_digest",),
        student=("WORK_SUFFIX", "distill"),
    )

__all__ = ["WORK_SUFFIX", "Comparison", "DistillConfig", "distill", "weights_digest"]

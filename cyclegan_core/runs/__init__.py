"""What a training leaves on disk: states, models, tables, charts."""

from .chart import draw_curves
from .run_folder import MODEL_NAME, STATE_NAME, RunFolder

__all__ = ["MODEL_NAME", "STATE_NAME", "RunFolder", "draw_curves"]

"""What a training leaves on disk: states, models, tables, charts.

- `run_folder`: the run's folder: settings, state, model, samples, and how to go on from it.
- `beginning`: what it learned from before, so that it goes on with the same, and was warned of.
- `logs`: `losses.csv`, which agrees with the state, and TensorBoard.
- `chart`: loss curves as a picture.
- `pace`: how long a training takes here, in words.
"""

from ..progress import duration
from .beginning import new_warnings, other_folders, read_before
from .chart import draw_curves
from .pace import Pace, busy_note, copying_note, estimate, time_step, warmup_note
from .run_folder import MODEL_NAME, STATE_NAME, RunFolder

__all__ = [
    "MODEL_NAME",
    "STATE_NAME",
    "Pace",
    "RunFolder",
    "busy_note",
    "copying_note",
    "draw_curves",
    "duration",
    "estimate",
    "new_warnings",
    "other_folders",
    "read_before",
    "time_step",
    "warmup_note",
]

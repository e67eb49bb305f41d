"""How good a model is: scores on held-out pictures beside floors that have learned nothing.

`evaluate` is the one call; `Evaluator` keeps what does not depend on the model, for a training
that asks again and again (`TrainingEvaluation`). Needs the extra `eval`; nothing is ever fetched.

- `evaluator`: the evaluation itself. `folders`: its pictures and their partners.
- `extractors`: the networks whose features are compared. `distances`: KID, FID, perceptual, pixels.
- `colour`: the colour filter that a model has to beat. `segmentation`: the segmentation score.
- `report`: scores in rows, as text and JSON. `sheet`: a contact sheet.
- `training_evaluation`: the table of scores of a training, its best model, when to stop.
"""

from typing import TYPE_CHECKING

from .._lazy import lazy_names
from ..config import EvaluationConfig

if TYPE_CHECKING:
    from .evaluator import FEWEST_PICTURES, Evaluator, evaluate
    from .extractors import Extractor, new_extractor
    from .report import DirectionReport, Evaluation, Score
    from .segmentation import Segmentation
    from .training_evaluation import BEST_NAME, TrainingEvaluation
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        evaluator=("FEWEST_PICTURES", "Evaluator", "evaluate"),
        extractors=("Extractor", "new_extractor"),
        report=("DirectionReport", "Evaluation", "Score"),
        segmentation=("Segmentation",),
        training_evaluation=("BEST_NAME", "TrainingEvaluation"),
    )

__all__ = [
    "BEST_NAME",
    "FEWEST_PICTURES",
    "DirectionReport",
    "Evaluation",
    "EvaluationConfig",
    "Evaluator",
    "Extractor",
    "Score",
    "Segmentation",
    "TrainingEvaluation",
    "evaluate",
    "new_extractor",
]

"""Training pictures: folders, their order, their transforms, and what is wrong with them.

- `folder`: one domain's folder: its pictures, those unfit for use, decoding, the memory for that.
- `training_data`: the endless, numbered sequence of samples, whatever they are made from.
- `unpaired_folders`: two folders without pairs.
- `paired_folders`: pairs by name in two folders, or side by side in files.
- `transforms`: resize, crop and flip.
- `loader`: batches, decoded ahead in threads, going on where a state left off.
- `report`: what the folders hold, for people, and what may go wrong with them.
"""

from .paired_folders import PairedFolders, open_folders
from .training_data import TrainingData
from .unpaired_folders import UnpairedFolders, folders_digest

__all__ = ["PairedFolders", "TrainingData", "UnpairedFolders", "folders_digest", "open_folders"]

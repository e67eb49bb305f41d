"""Training pictures: two folders, their order, their transforms, and what is wrong with them.

- `folder`: one domain's folder: its pictures, those unfit for use, decoding, the memory for that.
- `unpaired_folders`: the endless, numbered sequence of samples from two folders.
- `transforms`: resize, crop and flip.
- `loader`: batches, decoded ahead in threads, going on where a state left off.
- `report`: what the folders hold, for people, and what may go wrong with them.
"""

from .unpaired_folders import UnpairedFolders, folders_digest

__all__ = ["UnpairedFolders", "folders_digest"]

"""Training pictures: two folders, their order, their transforms, and what is wrong with them."""

from ..config import DataConfig
from .loader import BatchConfig, Batches
from .unpaired_folders import UnpairedFolders, folders_digest

__all__ = ["BatchConfig", "Batches", "DataConfig", "UnpairedFolders", "folders_digest"]

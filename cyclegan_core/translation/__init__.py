"""Pictures through a generator: whole, in strips, or approximately, as the memory allows."""

from ..config import Memory, Speedup
from .plan import Limits, TranslateSettings, wanted_bytes
from .work_size import work_shape

__all__ = ["Limits", "Memory", "Speedup", "TranslateSettings", "wanted_bytes", "work_shape"]

"""Pictures through a generator: whole, in strips, or approximately, as the memory allows.

translate: one call: settings, plan, pass, and the next plan where memory runs out.
plan: the ways a picture can go, best first, and the memory each takes.
whole_pass: one pass, plain, compiled, or as a CUDA graph.
overlap: copies while a GPU computes.
film: norm statistics that don't jump from frame to frame.
work_size: a smaller copy through the network, and the picture's own detail put back.
"""

from .plan import Limits, TranslateSettings, wanted_bytes
from .work_size import work_shape

__all__ = ["Limits", "TranslateSettings", "wanted_bytes", "work_shape"]

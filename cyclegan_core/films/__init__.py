"""Video files through a model, frame by frame, in bounded memory (extra `video`: PyAV).

names: which files are videos.
clip: a clip's frames, upright and in RGB, with the times that they are shown at.
writer: frames into segments, and segments with the clip's sound into one file.
translate: the whole way, which goes on where a killed run ended.
"""

from typing import TYPE_CHECKING

from .._lazy import lazy_names

if TYPE_CHECKING:
    from .clip import read_clip
    from .translate import translate_film
    from .writer import fitting_suffix
else:
    __getattr__, __dir__ = lazy_names(
        __name__, clip=("read_clip",), translate=("translate_film",), writer=("fitting_suffix",)
    )

__all__ = ["fitting_suffix", "read_clip", "translate_film"]

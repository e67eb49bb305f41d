"""Weight files in and out: our own format and every foreign layout that can be recognised.

- `checkpoint`: reading, describing, checking and writing a model's file, or a pair of files.
- `folder`: which file of a folder holds the model; names alone decide.
- `layout_convert`: foreign keys become ours, and BGR models become RGB ones.
- `layout_table`: where each foreign layout keeps its layers.
- `layouts`: finding the generators of a foreign file, and which way they translate.
- `pickles`: what a PyTorch file's pickle would make, before it is made.
- `refusals`: names for what is no CycleGAN.
- `settings`: the header of a file of ours, and config.json.
- `weight_file`: what kind of file it is, and its tensors; nothing in it is run.

What looks at names and settings only (`folder`, `settings`) needs no torch, so this face does not
import the rest before it is asked for.
"""

from typing import TYPE_CHECKING

from .._lazy import lazy_names

if TYPE_CHECKING:
    from .checkpoint import read_checkpoint
    from .folder import SUFFIXES
else:
    __getattr__, __dir__ = lazy_names(
        __name__, checkpoint=("read_checkpoint",), folder=("SUFFIXES",)
    )

__all__ = ["SUFFIXES", "read_checkpoint"]

"""Picture files in and out.

- `captions`: names over columns of pictures.
- `colours`: profiles of other colour spaces, from which pictures become sRGB.
- `files`: finding pictures in folders, opening them safely, writing them atomically.
- `picture`: any mode, orientation and depth to (C,H,W) in [0,1], and back; alpha and profile.
- `rows`: a picture as strips of rows, which streaming reads and writes.

The face holds what finds pictures; it needs Pillow, not torch.
"""

from .files import find_pictures, is_picture_name

__all__ = ["find_pictures", "is_picture_name"]

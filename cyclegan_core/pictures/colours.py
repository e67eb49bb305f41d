"""Colours of another space than sRGB, which networks are trained on, become sRGB (ICC profiles)."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import numpy as np
from PIL import Image, ImageCms

from ..errors import plain

_SAME = 2
"""Levels of 255 by which colours may differ and still be called sRGB: profiles round variously."""
_LONGEST_NAME = 60
CONVERTED = " converted to sRGB"
"""How the note of a picture ends whose profile is used; its name stands before."""
_SPACES = {"RGB": "RGB", "RGBA": "RGB", "CMYK": "CMYK"}


@dataclass(frozen=True, slots=True)
class Colours:
    """What a profile means for a picture of one mode."""

    note: str = ""
    """What is done about it, for people; empty if nothing is."""
    transform: ImageCms.ImageCmsTransform | None = None
    """To sRGB; None if the samples stay as they are."""


def colours(profile: bytes | None, mode: str) -> Colours:
    """How to read samples of `mode` (RGB, RGBA or CMYK) with this profile; other modes stay."""
    if not profile or mode not in _SPACES:
        return Colours()
    return _colours(profile, mode)


def to_srgb(image: Image.Image, found: Colours) -> Image.Image:
    """Convert an image of the mode that `found` is for; RGB and RGBA in place, alpha untouched."""
    if found.transform is None:
        return image
    in_place = image.mode != "CMYK"
    converted = ImageCms.applyTransform(image, found.transform, inPlace=in_place)
    return image if converted is None else converted


@lru_cache(maxsize=16)
def _colours(profile: bytes, mode: str) -> Colours:
    """Nearly all files of a folder have the same few profiles."""
    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        # What Pillow's stub leaves out.
        space = str(cast("Any", opened.profile).xcolor_space).strip()
        if space != _SPACES[mode]:
            return Colours()  # such as that of the print from which these RGB samples were made
        name = plain(ImageCms.getProfileDescription(opened).strip(), longest=_LONGEST_NAME)
        transform = ImageCms.buildTransform(
            opened,
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB" if mode == "CMYK" else mode,
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError, ImportError):
        return Colours("its colour profile can't be read")
    if mode != "CMYK" and _is_srgb(transform, mode):
        return Colours()
    return Colours(f"{name or 'its colour profile'}{CONVERTED}", transform)


def _is_srgb(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    """Whether a transform leaves colours from all parts of the cube where they are."""
    levels = np.linspace(0, 255, 6).round().astype(np.uint8)
    cube = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3)
    image = Image.fromarray(cube).convert(mode)
    changed = ImageCms.applyTransform(image, transform)
    after = np.asarray(changed)[..., :3].astype(int) if changed else cube
    return bool((abs(after - cube) <= _SAME).all())

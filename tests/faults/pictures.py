"""Picture files with random damage, of every kind: each is read, or named in a sentence.

    python -m tests.faults.pictures --count 1000

In CI `test_pictures.py` runs a short form of it.
"""

from __future__ import annotations

import argparse
import faulthandler
import io
import random
import resource
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, features

from cyclegan_core import PictureError, read_picture
from cyclegan_core.pictures.picture import read_flat, read_header
from tests.unit.pictures import profiles

from .weight_files import BYTES

SLOWEST = 5.0
"""Seconds of the processor that a file may take; a wait without work ends after 12 times that."""
MOST_MEMORY = 2_000_000
"""KB by which the process may grow: one picture of the 179 million pixels that Pillow allows in
four samples each, twice, and what floats take of it are far more; damaged sizes end at the data."""


def zoo() -> Iterator[tuple[str, bytes]]:
    """A whole file of each mode and format, with orientations, profiles and several frames."""
    rng = np.random.default_rng(5)
    base = Image.fromarray(rng.integers(0, 256, (24, 33, 3), dtype=np.uint8))
    deep = rng.integers(0, 65536, (24, 33), dtype=np.uint16)
    floats = rng.random((24, 33), dtype=np.float32) - 0.2
    modes = {mode: base.convert(mode) for mode in ("1", "L", "LA", "RGB", "RGBA", "CMYK", "P")}
    modes |= {"I;16": Image.fromarray(deep), "F": Image.fromarray(floats)}
    modes["LAB"] = Image.new("LAB", (33, 24), (120, 3, 250))
    palette = base.quantize(8)
    palette.info["transparency"] = 3
    modes["P clear"] = palette
    kinds = ["PNG", "JPEG", "TIFF", "WEBP", "GIF", "BMP", "PPM", "TGA", "JPEG2000"]
    kinds += ["AVIF"] if features.check("avif") else []
    wide = profiles.profile(profiles.P3, "Display P3")
    for kind in kinds:
        for mode, image in modes.items():
            options: dict[str, object] = {"icc_profile": wide} if mode == "RGB" else {}
            if kind in ("JPEG", "PNG", "TIFF", "WEBP"):
                exif = Image.Exif()
                exif[ExifTags.Base.Orientation] = 1 + len(mode) % 8
                options["exif"] = exif
            if kind in ("GIF", "TIFF", "WEBP") and mode in ("L", "RGB"):
                options |= {"save_all": True, "append_images": [image.rotate(90), image]}
            if kind == "TIFF" and mode != "F":
                options["compression"] = "tiff_lzw"
            buffer = io.BytesIO()
            try:
                image.save(buffer, kind, **options)
            except (OSError, ValueError, KeyError, TypeError, AttributeError):
                continue  # this format has no such mode
            yield f"{kind} {mode}", buffer.getvalue()


def attempt(path: Path) -> str:
    """What comes of a file; anything else than a picture or a sentence is raised."""
    message = ""
    for call in (read_header, read_picture, read_flat):
        begin = time.process_time()
        try:
            call(path)
        except PictureError as error:
            message = str(error)
        seconds = time.process_time() - begin
        assert seconds < SLOWEST, f"{call.__name__} took {seconds:.1f} s"
    assert message.isprintable(), ascii(message)
    assert not message or path.name in message
    return "named" if message else "read"


def run(count: int, seed: int, folder: Path) -> Counter[str]:
    """Read every whole file of the zoo, then `count` damaged ones; the last one stays."""
    rng = random.Random(seed)
    outcomes: Counter[str] = Counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole = dict(zoo())
        path = folder / "damaged.png"
        for kind, content in whole.items():
            path.write_bytes(content)
            assert attempt(path) == "read", kind
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for _ in range(count):
            kind = rng.choice(list(whole))
            content = bytearray(whole[kind])
            rng.choice(BYTES)(content, rng)
            path.write_bytes(content)
            faulthandler.dump_traceback_later(12 * SLOWEST, exit=True)
            outcomes[attempt(path)] += 1
            faulthandler.cancel_dump_traceback_later()
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < MOST_MEMORY, f"{grown} KB more"
    print(f"{len(whole)} kinds, {grown} KB more")  # noqa: T201
    return outcomes


def main() -> None:
    """The long form."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    folder = tempfile.mkdtemp()
    print(folder, flush=True)  # noqa: T201
    print(dict(run(options.count, options.seed, Path(folder))))  # noqa: T201


if __name__ == "__main__":
    main()

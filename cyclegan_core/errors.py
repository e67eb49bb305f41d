"""Every exception that CycleGAN raises on purpose.

Wrong arguments are `ValueError`; the world's faults (a file, a dataset, a server, a training
that diverges) are a `CycleGANError` whose text is one sentence: what, where, and what next.
"""

_SHORT_MODULE = "cyclegan_core"
"""Where users import these from. ComfyUI shows the module before the sentence, and would show the
disk path that it loads a pack under."""


_LONGEST = 2000
"""Letters of a message; a file may hold names of any length."""


def plain(text: str, *, longest: int = _LONGEST) -> str:
    """A text from a file or a server, fit to be shown: one line of plain letters.

    Escape sequences can move the cursor, rename the window, or hide what was written before.
    """
    if len(text) > longest:
        half = longest // 2
        text = f"{text[:half]} … {text[-half:]}"
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


class CycleGANError(Exception):
    """Base class: catch it to catch every fault that is not the caller's code."""

    def __init__(self, message: str = "") -> None:
        """The sentence, of which nothing speaks to a terminal."""
        super().__init__(plain(message))

    def __init_subclass__(cls) -> None:
        """Name the module that users know for those of this package."""
        if cls.__module__.startswith(__name__.removesuffix("errors")):
            cls.__module__ = _SHORT_MODULE


CycleGANError.__module__ = _SHORT_MODULE


class NonFiniteError(CycleGANError):
    """A translation holds NaN or infinity, though the picture does not."""


class CheckpointError(CycleGANError):
    """A weight file is missing, damaged, unsafe, or not a CycleGAN."""


class MissingDirectionError(CycleGANError):
    """The model has no generator for the direction that was asked for."""


class PictureError(CycleGANError):
    """A picture file can't be read or written."""


class DatasetError(CycleGANError):
    """A training folder can't be used."""


class DownloadError(CycleGANError):
    """A file could not be fetched from, or pushed to, the Hub."""

    unreachable: str = ""
    """Why the Hub did not answer, as a clause, if that is what is wrong; a copy may serve then."""


class CompilerError(CycleGANError):
    """`torch.compile` was asked for and can't work on this machine."""


class TrainingDivergedError(CycleGANError):
    """A loss is no longer finite; the weights were not changed by that step."""


def reason(error: BaseException) -> str:
    """Why an operation failed, in the system's own words where it has some."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)

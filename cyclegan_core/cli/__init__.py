"""The `cyclegan` command.

- `main`: parses, runs one command, turns faults into sentences and exit codes.
- `common`: the device and the model that are meant, and a bar for downloads.
- `translate`, `train`, `evaluate`, `distill`, `export`: a command each; `translate` holds
  `reconstruct` too.
- `hub`: pull, push and list. `weights`: info and convert.
- `cluster`: `bulk`, for any number of pictures on any number of computers.
- `computer`: `doctor`, which looks at this computer, and `demo`, a page on it.
- `outputs`: which pictures are meant, and where the result of each goes.

A command imports what needs torch inside the function that does the work: torch takes a second or
more to import, and help, or a mistake in the command line, is answered without it.
"""

from .main import ask_for_large_pages, run

__all__ = ["ask_for_large_pages", "run"]

"""`python -m cyclegan_core.cli`, which is what torchrun starts."""

import sys

from .main import run

sys.exit(run())

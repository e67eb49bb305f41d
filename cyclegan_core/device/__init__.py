"""What depends on the device: memory, precision, recorded and compiled code, other processes."""

from .precision import DTYPES, NAMES, fastest_dtype

__all__ = ["DTYPES", "NAMES", "fastest_dtype"]

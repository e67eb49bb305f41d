"""What depends on the device: memory, precision, recorded and compiled code, other processes.

- `memory`: how much there is, and whether an error means that there was too little.
- `precision`: number formats, and which one is fastest on a device.
- `winograd`: convolutions with fewer multiplications, for CPUs.
- `graphs`: CUDA graphs and `torch.compile`.
- `distributed`: what the processes of a data-parallel training agree on.
"""

from .precision import DTYPES, NAMES, fastest_dtype

__all__ = ["DTYPES", "NAMES", "fastest_dtype"]

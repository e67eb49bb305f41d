"""Picture files in and out.

The face holds what nodes and command line search folders with; nothing of it needs torch.
"""

from .files import READABLE, WRITABLE, Identity, find_pictures, identity

__all__ = ["READABLE", "WRITABLE", "Identity", "find_pictures", "identity"]

"""The `cyclegan` command."""

from .main import ask_for_large_pages, run

__all__ = ["ask_for_large_pages", "run"]

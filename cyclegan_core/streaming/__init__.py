"""Pictures through a resnet generator strip by strip, exactly, in bounded memory."""

from .plan import StreamPlan

__all__ = ["StreamPlan"]

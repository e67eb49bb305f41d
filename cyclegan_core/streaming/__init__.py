"""Exact translation in strips, in bounded memory."""

"""Pictures through a generator: whole, in strips, or as fits."""

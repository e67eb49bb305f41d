"""What works on many computers: `bulk`, which translates any number of pictures."""

"""What depends on the device: memory, precision, recorded and compiled code, other processes."""

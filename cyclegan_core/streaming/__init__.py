"""Pictures through a resnet generator strip by strip, exactly, in bounded memory.

- `stream`: the exact translation, and the approximate one with a thumbnail's statistics.
- `plan`: the precision, the memory of a strip, and where feature maps are stored.
- `sweeps`: the sweeps of one picture, one for each norm.
- `strip_layers`: convolutions and padding for rows that arrive from the top down.
- `norm_statistics`: mean and variance of a map that is seen in strips.
- `feature_maps`: maps stored on the device, in RAM, or on disk.
"""

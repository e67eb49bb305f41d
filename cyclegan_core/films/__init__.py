"""Video files through a model, frame by frame, in bounded memory (extra `video`: PyAV).

names: which files are videos.
clip: a clip's frames, upright and in RGB, with the times that they are shown at.
writer: frames into segments, and segments with the clip's sound into one file.
translate: the whole way, which goes on where a killed run ended.
"""

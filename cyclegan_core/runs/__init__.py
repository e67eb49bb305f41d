"""What a training leaves on disk: states, models, tables, charts."""

"""How words become commands: options in groups, and mistakes in sentences."""

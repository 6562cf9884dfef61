"""The evidence on real models: what was planned before it was run (`plan`), and the commands that get it."""

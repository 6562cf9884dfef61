"""Barriers, fields and paths looked at by themselves: sketches, a plane, Gaussians of known ratio."""

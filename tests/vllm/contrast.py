"""Sentences of praise and of blame that differ in nothing else."""

import odesteer_tl as ode

PLACES = ("film", "meal", "hotel", "book", "concert", "walk", "game", "talk", "garden", "story", "lesson", "evening")
GOOD = ("was wonderful, and everybody loved it.", "made us happy from the first minute to the last.")
BAD = ("was terrible, and everybody hated it.", "made us miserable from the first minute to the last.")


def contrast() -> ode.ContrastSet:
    """One pair a place and sentence."""
    good, bad = ([f"The {x} {how}" for x in PLACES for how in side] for side in (GOOD, BAD))
    return ode.ContrastSet.from_texts(good, bad)

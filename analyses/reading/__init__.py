"""Where a concept is read and where it is brought about: what `agreement` and `reading_and_steering` are made of."""

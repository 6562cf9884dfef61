"""The rooms behind `analyses.reading_and_steering`: states on texts, planes that split them, effects of edits."""

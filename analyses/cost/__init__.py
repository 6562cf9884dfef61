"""The rooms behind `analyses.bench`: each compares two things run in turn in one process."""

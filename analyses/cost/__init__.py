"""What is behind `analyses.bench`: each module compares two things run in turn in one process."""

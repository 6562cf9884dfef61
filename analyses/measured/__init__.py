"""Small tables behind the numbers of the documents, and the command that keeps them: `python -m analyses.measured`.

A table of a document that has a line `<!-- measured: NAME -->` above it is compared with `NAME.csv` by the tests.
"""

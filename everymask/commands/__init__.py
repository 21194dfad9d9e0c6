"""The verbs of the command line: for each a dataclass of its options and a function that does it.

Options are torch-free and quick to import; what a verb needs is imported when it runs.
"""

"""JSON that is read back: values that are what they must be, files that are as they were written."""

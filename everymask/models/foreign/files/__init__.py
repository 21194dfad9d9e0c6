"""What lies in other programs' files: tensors by name, read without running code."""

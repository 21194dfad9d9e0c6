"""What the processor is, and how much of the machine this process may use."""

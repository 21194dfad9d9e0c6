"""What is found by windows that overlap, joined: a thing that several of them see becomes one."""

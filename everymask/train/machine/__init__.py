"""What the machine does to a training: several processes, signals, failures."""

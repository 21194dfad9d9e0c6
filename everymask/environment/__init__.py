"""What a bug report must say of the machine: versions, processor, memory, devices, settings, and what is slow here."""

"""What SAM 2 remembers a video by: how a frame becomes a memory, and how memories change what the next one shows."""

"""Pictures that are looked at once and answer many prompts: sessions, and everything at once."""

"""What a run writes and reads back: names, state, logs, summary and report."""

"""How well networks answer prompts: clicks as a patient user would make them, and what is said of the answers."""

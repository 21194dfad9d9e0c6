"""How `everymask check` answers: tables for people in the terminal, and one page with pictures."""

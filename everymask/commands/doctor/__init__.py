"""How `everymask check` answers: tables for people in the terminal, and one page with pictures; and `everymask env`, which
looks at the machine instead of data.
"""

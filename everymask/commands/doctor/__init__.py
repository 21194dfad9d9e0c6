"""How `everymask check` answers: tables in the terminal, and one page with pictures; and `everymask env`, which looks
at the machine instead of data.
"""

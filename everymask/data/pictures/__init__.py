"""Reading and writing picture files: whole, by rows, and no more than their headers."""

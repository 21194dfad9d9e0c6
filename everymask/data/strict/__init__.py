"""Reading XML and CSV files without what their usual readers let pass."""

"""ImageJ's and Fiji's ROI files."""

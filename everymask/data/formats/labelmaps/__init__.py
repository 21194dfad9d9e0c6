"""Pictures with a label map each, whose pixels hold classes."""

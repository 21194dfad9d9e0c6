"""The verb that answers over HTTP."""

"""Label Studio's JSON and JSON-min."""

"""From pictures to results: what runs a trained model."""

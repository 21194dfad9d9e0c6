"""A trained model as a service: answers over HTTP in time, or says at once that it cannot."""

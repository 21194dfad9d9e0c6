"""What a training is asked for and what is decided: plain values, never torch."""

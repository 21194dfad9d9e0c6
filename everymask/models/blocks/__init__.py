"""What several networks are made of: encoders, blocks, pyramids."""

"""What a data set holds, told by its content and not by its place: digests, and what differs between two of them."""

"""What the other rooms speak of; the standard library and msgspec only."""

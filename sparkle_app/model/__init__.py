"""The types that all other packages share. Imports the standard library and msgspec only."""

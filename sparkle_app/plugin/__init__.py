"""Finding plugins: manifest (what a package is, without importing it), discovery (its server half)."""

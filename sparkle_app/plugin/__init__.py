"""Finding plugins: manifest (without importing them), discovery (their server halves), legacy."""

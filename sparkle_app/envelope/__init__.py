"""The collectors' records: v1 (parsing and decryption), keyring, rsa, rsa_multibuffer, clock (event time)."""

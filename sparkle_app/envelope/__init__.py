"""The collectors' records: v1 (parse and decrypt), keyring, rsa or rsa_multibuffer, clock (event time)."""

"""Mutated byte streams against the decoder and the handshakes: `python -m tests.fuzz --count 200000`."""

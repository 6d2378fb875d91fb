"""Recorded provider traffic through our LiteLLM engine: `python -m tests.replay` or `make replay`."""

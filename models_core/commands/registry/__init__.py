"""Models that come in from outside and go out: import, GGUF files, the Hub."""

"""The proposer with language models: it asks, reads the answer, has it mended."""

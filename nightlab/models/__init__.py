"""The way to language models: asking one, what it costs, and what its server says instead."""

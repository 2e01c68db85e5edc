"""The proposer that runs a person's command: any coding agent, or script, that edits a file."""

"""What can be started: Prefect flows and the command line."""

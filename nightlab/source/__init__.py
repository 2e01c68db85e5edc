"""What can be known of a train.py without running it."""

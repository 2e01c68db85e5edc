"""What Nightlab needs of the machine that it runs on, each told in one sentence where it fails."""

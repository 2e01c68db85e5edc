"""What a candidate is worth: questions to it, its answers, their audit, the score."""

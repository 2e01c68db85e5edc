"""What is kept, from scores alone: pure functions, from evidence to a verdict and its sentence."""

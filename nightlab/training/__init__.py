"""The host of one training: the order, the clock, the curve, and when to stop it early."""

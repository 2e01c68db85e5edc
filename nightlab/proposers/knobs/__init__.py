"""The proposer without a model: moves the constants that ``train.py`` declares."""

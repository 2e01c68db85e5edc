"""One Prefect task per verb: each owns a policy (retry, delay, run name) and no logic."""

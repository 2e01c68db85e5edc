"""One study's life: its session, its trials, and what is known of them so far."""

"""Coverage-guided fuzzing of what reads the gateway's bytes."""

"""What holds for any stream: however it is split, padded or broken, and beside the official SDKs."""

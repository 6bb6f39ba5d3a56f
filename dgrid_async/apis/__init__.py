"""The four wire formats, one slice each; sans-IO, and none knows another."""

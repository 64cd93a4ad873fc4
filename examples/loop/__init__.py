"""The loop closed once, from a noisy day to limits in force and back: ``python -m examples.loop``."""

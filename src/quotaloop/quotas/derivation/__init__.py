"""Limits from demand."""

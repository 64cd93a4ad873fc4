"""Policies in a compacted topic."""

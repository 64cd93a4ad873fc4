"""Policies in Redis, for our own limiter."""

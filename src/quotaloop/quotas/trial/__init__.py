"""Policies tried on history."""

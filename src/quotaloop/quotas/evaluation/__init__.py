"""Limits judged on days that they do not know."""

"""Quotaloop: from API request logs to rate limits that can be trusted."""

__version__ = "0.1.0"

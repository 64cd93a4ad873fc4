"""Servers of other makers, as tests, measurements and the demonstration start them on this machine."""

"""Checks on exactly the files that would be published; a release exists only if every one of them passed."""

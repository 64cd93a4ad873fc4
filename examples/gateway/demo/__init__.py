"""The loop closed on a running gateway."""

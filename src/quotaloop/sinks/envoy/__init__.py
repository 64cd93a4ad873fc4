"""Policies for Envoy's rate limit service."""

"""Policies for a LiteLLM proxy."""

"""What the gateway serves, a resource a file."""

"""The raw zone's way in from Kafka."""

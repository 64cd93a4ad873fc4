"""From other transports into the topic of Kafka that is landed."""

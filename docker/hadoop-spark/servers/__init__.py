"""Kafka, HDFS and YARN as processes of their own: by `cluster` on one machine, or one a container."""

"""The local stack: real Kafka, OpenBao and PostgreSQL and the services, as plain child processes."""

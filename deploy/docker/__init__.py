"""What runs inside containers besides the services: one-shot jobs and the health check."""

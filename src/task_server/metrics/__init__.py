"""Queues, workers and the broker over HTTP: for Prometheus, and as JSON for autoscalers."""

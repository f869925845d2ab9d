"""A reproducible Celery task server for Django projects."""

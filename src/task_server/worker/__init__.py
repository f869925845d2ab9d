"""What runs inside the worker. Empty, so that importing a part does not import Celery's signals."""

import os
import time

import requests
from celery import shared_task


@shared_task
def bake(loaves, seconds=0.0):
    """Return how many loaves there are, and who has baked them."""
    time.sleep(seconds)
    return [loaves, os.getuid()]


@shared_task
def order(address):
    """Return where flour would be ordered."""
    return requests.Request("GET", address).prepare().url


@shared_task
def feed():
    """Feed the sourdough, as the schedule has it."""

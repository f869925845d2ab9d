"""What `autodiscover` of the Django admin imports."""

from django.contrib import admin

from task_server.contrib.admin import register

register(admin.site)

"""The private settings of the three machines: where the database is."""

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "docket",
        "USER": "docket",
        "HOST": "server",
    }
}

from django.db import models


class Run(models.Model):
    """One run of a task; `ended` is empty while it runs, and after its process was killed."""

    number = models.IntegerField()
    host = models.CharField(max_length=100)
    pid = models.IntegerField()
    began = models.DateTimeField(auto_now_add=True)
    ended = models.DateTimeField(null=True)

    def __str__(self):
        return f"{self.number} on {self.host}"

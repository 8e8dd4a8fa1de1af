"""What the shop stores."""

from django.db import models


class Order(models.Model):
    """An order."""

    item = models.CharField(max_length=100, unique=True)

    class Meta:
        app_label = "shop"

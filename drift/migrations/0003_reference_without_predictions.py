"""A further reason why something is not compared."""

from django.db import migrations, models

STATUSES = [
    "ok",
    "insufficient_data",
    "constant",
    "missing_column",
    "type_changed",
    "ambiguous_dates",
    "no_reference",
    "error",
    "identifier",
]


class Migration(migrations.Migration):
    dependencies = [("drift", "0002_second_edition")]

    operations = [
        migrations.RemoveConstraint("featuredrift", "feature_status_is_known"),
        migrations.AlterField(
            "featuredrift",
            "status",
            models.CharField(choices=[(one, one.replace("_", " ")) for one in STATUSES], max_length=32),
        ),
        migrations.AddConstraint(
            "featuredrift",
            models.CheckConstraint(condition=models.Q(status__in=STATUSES), name="feature_status_is_known"),
        ),
    ]

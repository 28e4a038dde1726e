from django.db import migrations, models


def monitor_correlations(apps, schema_editor):
    """Have correlations in the verdict, which was not offered before: the field showed them as information only."""
    apps.get_model("drift", "DriftPolicy").objects.update(monitors_correlation=True)


class Migration(migrations.Migration):
    dependencies = [("drift", "0001_initial")]

    operations = [
        migrations.RemoveConstraint("driftcheck", "a_window_is_checked_once"),
        # Checks of before are those of the first edition.
        migrations.AddField("driftcheck", "rule_edition", models.PositiveSmallIntegerField(default=1)),
        migrations.AlterField(
            "driftcheck",
            "rule_edition",
            models.PositiveSmallIntegerField(
                default=2, help_text="Edition of the verdict's rule. Each edition checks a window once."
            ),
        ),
        migrations.AddField(
            "driftcheck",
            "n_confirmed_correlations",
            models.PositiveIntegerField(
                default=0, help_text="Pairs of features whose correlation the verdict's alarm lists."
            ),
        ),
        migrations.AddField(
            "driftcheck",
            "prediction_is_confirmed",
            models.BooleanField(default=False, help_text="Whether the verdict's alarm lists the predictions."),
        ),
        migrations.AddConstraint(
            "driftcheck",
            models.UniqueConstraint(
                fields=["version", "window_end", "rule_edition"], name="an_edition_checks_a_window_once"
            ),
        ),
        migrations.AddField(
            "driftpolicy",
            "is_seasonal",
            models.BooleanField(
                "seasonal",
                default=False,
                help_text="The verdict compares each hour of the day, or weekday, with the same one of the reference. Needs a "
        "reference with times over at least ten days, or weeks.",
            ),
        ),
        migrations.AlterField(
            "driftpolicy",
            "monitors_correlation",
            models.BooleanField(
                default=True,
                help_text="The verdict also compares the correlation of each pair of the first 100 numeric features.",
            ),
        ),
        migrations.RunPython(monitor_correlations, migrations.RunPython.noop),
    ]

from django.db import migrations, models


def first_format(apps, schema_editor):
    """Let the profiles of before be rebuilt."""
    references = apps.get_model("models_registry", "ReferenceDataset")
    references.objects.exclude(profile_file="").update(profile_format=3)


class Migration(migrations.Migration):
    dependencies = [("models_registry", "0002_promoted_at")]

    operations = [
        migrations.AddField(
            "referencedataset",
            "profile_format",
            models.PositiveSmallIntegerField(
                null=True, help_text="Format of the profile. Empty without one, or if an older one could not be rebuilt."
            ),
        ),
        migrations.RunPython(first_format, migrations.RunPython.noop),
    ]

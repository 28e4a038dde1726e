"""What is served beside the uploaded file, and what its scores are."""

from typing import Any

from django.db import migrations, models


def state_kinds(apps: Any, schema_editor: Any) -> None:
    """Keep what was proven; scores without labels were served with their softmax, those beside labels are margins."""
    versions = apps.get_model("models_registry", "ModelVersion").objects.exclude(score_output="")
    versions.filter(scores_are_probabilities=True).update(score_kind="probabilities")
    versions.filter(scores_are_probabilities=False, label_output="").update(score_kind="logits")
    versions.filter(score_kind="").update(score_kind="margins")


class Migration(migrations.Migration):
    dependencies = [("models_registry", "0004_times_of_references")]

    operations = [
        migrations.AddField(
            "modelversion",
            "score_kind",
            models.CharField(
                "scores",
                max_length=16,
                blank=True,
                choices=[("probabilities", "probabilities"), ("logits", "logits"), ("margins", "margins")],
                help_text="What the numbers of the score output are.",
                default="",
            ),
            preserve_default=False,
        ),
        migrations.RemoveConstraint(
            model_name='modelversion',
            name='model_version_task_type_is_known',
        ),
        migrations.AddField(
            model_name='modelversion',
            name='normalised',
            field=models.FileField(blank=True, help_text='What is served, if the file had to be changed.', max_length=255, upload_to='artefacts/'),
        ),
        migrations.AddField(
            model_name='modelversion',
            name='remarks',
            field=models.JSONField(blank=True, default=list, help_text='What was changed to serve the file, and what was assumed.'),
        ),
        migrations.AddField(
            model_name='modelversion',
            name='rows_at_once',
            field=models.PositiveIntegerField(default=512, help_text='The most rows of one run of the model; larger requests are split.'),
        ),
        migrations.AlterField(
            model_name='modelversion',
            name='artefact',
            field=models.FileField(help_text='The file as it was uploaded.', max_length=255, upload_to='artefacts/'),
        ),
        migrations.AlterField(
            model_name='modelversion',
            name='task_type',
            field=models.CharField(choices=[('classification', 'classification'), ('regression', 'regression'), ('anomaly', 'anomaly')], max_length=16),
        ),
        migrations.RunPython(state_kinds, migrations.RunPython.noop),
        migrations.RemoveField("modelversion", "scores_are_probabilities"),
        migrations.AddConstraint(
            model_name='modelversion',
            constraint=models.CheckConstraint(condition=models.Q(('task_type__in', ['classification', 'regression', 'anomaly'])), name='model_version_task_type_is_known'),
        ),
        migrations.AddConstraint(
            model_name='modelversion',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('score_kind', ''), ('score_output', '')), models.Q(models.Q(('score_output', ''), _negated=True), ('score_kind__in', ['probabilities', 'logits', 'margins'])), _connector='OR'), name='model_version_scores_have_a_kind'),
        ),
        migrations.AddConstraint(
            model_name='modelversion',
            constraint=models.CheckConstraint(condition=models.Q(('rows_at_once__gt', 0)), name='model_version_runs_have_rows'),
        ),
    ]

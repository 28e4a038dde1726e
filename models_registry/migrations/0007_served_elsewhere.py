"""Versions that are served elsewhere have no artefact, and their references have a column of predictions."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('models_registry', '0006_digest_of_uploads'),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name='modelversion',
            name='model_version_artefact_is_not_empty',
        ),
        migrations.RemoveConstraint(
            model_name='modelversion',
            name='model_version_scores_have_a_kind',
        ),
        migrations.AddField(
            model_name='referencedataset',
            name='prediction_column',
            field=models.CharField(blank=True, help_text='Column with the predictions of a version that is served elsewhere. If empty, it is detected by its name.', max_length=255),
        ),
        migrations.AddField(
            model_name='referencedataset',
            name='predictions_note',
            field=models.TextField(blank=True, help_text='Why no column is used as predictions, or none as their probabilities.'),
        ),
        migrations.AlterField(
            model_name='modelfeature',
            name='input_name',
            field=models.CharField(blank=True, max_length=255),
        ),
        migrations.AlterField(
            model_name='modelversion',
            name='artefact',
            field=models.FileField(blank=True, help_text='The file as it was uploaded. Empty: the version is served elsewhere.', max_length=255, upload_to='artefacts/'),
        ),
        migrations.AlterField(
            model_name='modelversion',
            name='artefact_bytes',
            field=models.PositiveBigIntegerField(blank=True, null=True),
        ),
        migrations.AlterField(
            model_name='modelversion',
            name='artefact_sha256',
            field=models.CharField(blank=True, max_length=64),
        ),
        migrations.AddConstraint(
            model_name='modelversion',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('artefact__gt', ''), ('artefact_bytes__gt', 0), ('artefact_bytes__isnull', False), ('artefact_sha256__gt', '')), models.Q(('artefact', ''), ('artefact_bytes', None), ('artefact_sha256', ''), ('normalised', '')), _connector='OR'), name='model_version_artefact_is_whole_or_absent'),
        ),
        migrations.AddConstraint(
            model_name='modelversion',
            constraint=models.CheckConstraint(condition=models.Q(('artefact__gt', ''), models.Q(('label_output', ''), ('score_output', '')), _connector='OR'), name='only_an_artefact_has_outputs'),
        ),
        migrations.AddConstraint(
            model_name='modelversion',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('score_kind', ''), ('score_output', '')), models.Q(('artefact', ''), ('score_kind', 'probabilities'), ('score_output', '')), models.Q(models.Q(('score_output', ''), _negated=True), ('score_kind__in', ['probabilities', 'logits', 'margins'])), _connector='OR'), name='model_version_scores_have_a_kind'),
        ),
    ]

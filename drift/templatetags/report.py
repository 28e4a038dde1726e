"""The parts of a result, which `mlmon.report` draws, in Django's templates."""

from django import template

from mlmon.report.html import part

register = template.Library()
register.simple_tag(part, name="report_part")  # {% report_part "tag" check.tag %}

"""docs/kserve.md agrees with the code: the manifest, the URL, the annotation and the outcomes."""

import re
from urllib.parse import urlsplit

import yaml
from django.conf import settings
from django.urls import resolve

from accounts.models import TOKEN_PREFIX
from inference.kserve.events import VERSION_ANNOTATION, EventOutcome

PAGE = (settings.BASE_DIR / "docs" / "kserve.md").read_text()


def test_the_manifest_leads_to_the_url() -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    manifest = yaml.safe_load(text)
    assert (manifest["apiVersion"], manifest["kind"]) == ("serving.kserve.io/v1beta1", "InferenceService")
    logger = manifest["spec"]["predictor"]["logger"]
    assert logger["mode"] == "all"
    url = urlsplit(logger["url"])
    assert resolve(url.path).url_name == "kserve-events"
    assert (url.password or "").startswith(TOKEN_PREFIX)
    assert logger["metadataAnnotations"] == [VERSION_ANNOTATION]
    assert VERSION_ANNOTATION in manifest["metadata"]["annotations"]


def test_every_outcome_is_on_the_page() -> None:
    table = PAGE.partition("| outcome | meaning |")[2]
    listed = re.findall(r"`(\w+)`", "\n".join(re.findall(r"^\| ([^|]+) \|", table, re.MULTILINE)))
    assert set(listed) == {outcome.value for outcome in EventOutcome}

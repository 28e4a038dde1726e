"""docs/ci.md: its shell lines are one script, which runs as it stands against a real server and a real worker.

Only the address of the server and the path of manage.py are others.
"""

import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from django.conf import settings

from accounts.models import ChangeRecord, ServingGeneration
from models_registry.models import ModelVersion, ReferenceDataset, Stage
from tests.conftest import environment_of_tests
from tests.services.debian_programs import program
from tests.services.processes import await_condition
from tests.services.web_server import WebServer
from tests.test_own_model import applicants, trained

PAGE = (Path(settings.BASE_DIR) / "docs" / "ci.md").read_text()
TOKENS, *PIPELINE = re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def server(
    monkeypatch: pytest.MonkeyPatch,
    celery_worker_process: subprocess.Popen[bytes],
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> WebServer:
    """A server that requires tokens, and a folder with the files of the pipeline."""
    program("curl")
    monkeypatch.setenv("MLMON_API_ACCESS", "token")
    _, content = trained()
    (tmp_path / "credit.onnx").write_bytes(content)
    rows = applicants(1500, seed=2)
    table = pa.table({name: pa.array(values, from_pandas=True) for name, values in rows.items()})
    pq.write_table(table, tmp_path / "training-sample.parquet")
    running: WebServer = request.getfixturevalue("web_server")
    return running


def run(script: str, server: WebServer, folder: Path, **variables: str) -> str:
    """Return the output of a script in bash, which ends at the first line that fails."""
    script = script.replace("http://localhost:8000", server.url)
    script = script.replace(".venv/bin/python manage.py", f"{sys.executable} {settings.BASE_DIR}/manage.py")
    environment = {**environment_of_tests(), **variables}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=folder,
        env=environment,
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def documents(printed: str) -> list[dict[str, Any]]:
    """Return the consecutive JSON documents in `printed`."""
    decoder, found = json.JSONDecoder(), []
    while printed := printed.strip():
        document, end = decoder.raw_decode(printed)
        found.append(document)
        printed = printed[end:]
    return found


def is_accepted(token: str, server: WebServer) -> bool:
    """Return whether twenty requests in a row accept the token, so that every process knows it."""
    asked = urllib.request.Request(f"{server.url}/api/v1/models", headers={"Authorization": f"Bearer {token}"})
    try:
        for _ in range(20):
            urllib.request.urlopen(asked, timeout=10).close()
    except urllib.error.HTTPError:
        return False
    return True


def registry() -> dict[str, Any]:
    return {
        "versions": list(ModelVersion.objects.values()),
        "references": list(ReferenceDataset.objects.values()),
        "changes": list(ChangeRecord.objects.values()),
        "generation": ServingGeneration.objects.get().number,
    }


def test_every_call_of_the_page_is_in_the_script() -> None:
    assert PAGE.count("```") == 2 * (1 + len(PIPELINE))
    assert sum(block.count("curl ") for block in PIPELINE) == len(re.findall(r"^ *curl ", PAGE, re.MULTILINE)) == 8


@pytest.mark.timeout(300)
@pytest.mark.django_db(transaction=True)
def test_the_page_leads_from_a_token_to_the_first_prediction(server: WebServer, tmp_path: Path) -> None:
    printed = run(f'{TOKENS}\necho "$TOKEN $APP_TOKEN"', server, tmp_path)
    token, app_token = printed.split()
    await_condition(lambda: is_accepted(token, server), "the servers do not accept the token")
    variables = {"TOKEN": token, "APP_TOKEN": app_token}

    made = documents(run("\n".join(PIPELINE), server, tmp_path, **variables))
    model, version, job, promotion, prediction, inferred, elsewhere = made
    assert (model["name"], model["time_zone"]) == ("credit", "UTC")
    assert [one["name"] for one in version["features"] if not one["is_required"]] == ["income"]
    assert (job["state"], job["rows"], job["is_active"]) == ("ready", 1500, True)
    assert [(one["version"], one["stage"]) for one in promotion["changes"]] == [("1.0.0", "production")]
    # The oracle is scikit-learn's own pipeline.
    pipeline, _ = trained()
    row = np.array([[52000, 41, "north"]], dtype=object)
    assert prediction["prediction"] == pipeline.predict(row)[0]
    assert prediction["confidence"] == pytest.approx(pipeline.predict_proba(row).max(), abs=1e-5)
    actors = ChangeRecord.objects.filter(model_name="credit").values_list("actor", flat=True)
    assert set(actors) == {"API token ci", "mlmon"}
    assert ModelVersion.objects.get(version="1.0.0").stage == Stage.PRODUCTION
    assert [one["name"] for one in inferred["schema"]["features"]] == ["income", "age", "region"]
    assert (elsewhere["version"], elsewhere["is_served_here"], elsewhere["stage"]) == ("2.0.0", False, "staging")

    stored = registry()
    again = documents(run("\n".join(PIPELINE), server, tmp_path, **variables))
    assert {one["artefact_sha256"] for one in again[0]["versions"]} == {version["artefact_sha256"], None}
    assert (again[1]["stage"], again[2], again[3]["changes"]) == ("production", job, [])
    assert again[4]["prediction"] == prediction["prediction"]
    assert registry() == stored

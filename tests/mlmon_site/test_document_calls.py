"""Every curl line of the README and the documents, run in their order against a real server as they stand.

Only the address is another one, and an answer of 400 or more fails a line (curl's ``--fail-with-body``).
"""

import json
import re
import subprocess
import textwrap
import urllib.request
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from django.conf import settings
from django.core.management import call_command
from prometheus_client.parser import text_string_to_metric_families

from tests.services.debian_programs import program
from tests.services.processes import await_condition
from tests.services.web_server import WebServer
from tests.test_own_model import applicants, trained

REPOSITORY = Path(settings.BASE_DIR)
ONE_SCRIPT = "ci.md"  # its blocks depend on each other: test_ci_page.py runs them
PAGES = [
    REPOSITORY / "README.md",
    *(page for page in sorted((REPOSITORY / "docs").rglob("*.md")) if page.name != ONE_SCRIPT),
]
DOCUMENTED_ADDRESS = "http://localhost:8000"
JOINED = "--fail-with-body -sS"


def _blocks(page: Path) -> Iterator[str]:
    """Yield the shell blocks of a page that call the API."""
    for _, block in re.findall(r"^( *)```(?:sh|bash)\n(.*?)^\1```", page.read_text(), re.MULTILINE | re.DOTALL):
        if re.search(r"\bcurl\b", block):
            yield textwrap.dedent(block)


BLOCKS = [(page.name, block) for page in PAGES for block in _blocks(page)]


@pytest.fixture
def documented_server(transactional_db: None, request: pytest.FixtureRequest, tmp_path: Path) -> WebServer:
    """A server with the demo's models and the model credit, uploaded with the README's commands."""
    program("curl")
    call_command("load_demo", stdout=StringIO())
    _, content = trained()
    (tmp_path / "credit.onnx").write_bytes(content)
    rows = applicants(1500, seed=2)
    sample = pa.table({name: values[np.isfinite(rows["income"])] for name, values in rows.items()})
    pq.write_table(sample, tmp_path / "training-sample.parquet")
    lines = re.findall(r"manage\.py (upload_\w+) (credit .*)", (REPOSITORY / "README.md").read_text())
    assert [name for name, _ in lines] == ["upload_version", "upload_reference"]
    for name, words in lines:
        call_command(name, *re.sub(r"\S+\.(onnx|parquet)", rf"{tmp_path}/\g<0>", words).split(), stdout=StringIO())
    server: WebServer = request.getfixturevalue("web_server")
    return server


def _run(block: str, server: WebServer) -> str:
    """Return the output of a block."""
    script = re.sub(r"\bcurl\b", f"curl {JOINED}", block.replace(DOCUMENTED_ADDRESS, server.url))
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{block}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    await_condition(lambda: _is_captured(server), "the predictions are not captured")
    return done.stdout


def _is_captured(server: WebServer) -> bool:
    """Return whether the server has captured everything that it predicted."""
    with urllib.request.urlopen(f"{server.url}/metrics", timeout=10) as response:
        families = text_string_to_metric_families(response.read().decode())
    return all(one.value == 0 for family in families for one in family.samples if one.name == "ml_capture_pending")


def _documents(printed: str) -> list[dict[str, Any]]:
    """Return the consecutive JSON documents in `printed`."""
    decoder, documents = json.JSONDecoder(), []
    while printed := printed.strip():
        document, end = decoder.raw_decode(printed)
        documents.append(document)
        printed = printed[end:]
    return documents


def test_every_curl_line_is_in_an_executed_block() -> None:
    written = sum(len(re.findall(r"^ *(?:for .*)?curl ", page.read_text(), re.MULTILINE)) for page in PAGES)
    run = sum(len(re.findall(r"^ *(?:for .*)?curl ", block, re.MULTILINE)) for _, block in BLOCKS)
    assert run == written > 0
    assert all(DOCUMENTED_ADDRESS in block for _, block in BLOCKS)


def test_the_documented_lines_run_in_order(documented_server: WebServer) -> None:
    printed = {block: _run(block, documented_server) for _, block in BLOCKS}
    predicted, drift, metrics, own, feedback = printed.values()
    readme = (REPOSITORY / "README.md").read_text()
    answers = _documents(predicted)
    assert len(answers) == 100
    assert set(answers[0]) == set(json.loads(re.findall(r'^\{"prediction":.*\}$', readme, re.MULTILINE)[0]))
    assert answers[0]["prediction"] == "setosa"
    (report,) = _documents(drift)
    assert (report["is_drifted"], report["feature_drift"]["sepal_length"]["score"]) == (True, 1.0)
    assert "ml_prediction_requests_total{" in metrics
    predictions, own_drift = _documents(own)
    assert [row["prediction"] for row in predictions["predictions"]] == ["granted", "declined"]
    assert (own_drift["model_name"], own_drift["status"]) == ("credit", "insufficient_data")
    labels, performance = _documents(feedback)
    assert (labels["counts"]["unknown"], performance["model_name"]) == (1, "classifier")

"""Write the rules of monitoring/prometheus/rules as PrometheusRule objects to base/prometheus-rules.yaml.

Run it after a change of the rules: ``python deploy/kubernetes/write_prometheus_rules.py``. A test compares the two.
"""

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
RULES = REPOSITORY / "monitoring" / "prometheus" / "rules"
WRITTEN = Path(__file__).resolve().parent / "base" / "prometheus-rules.yaml"
HEAD = """\
# Written by write_prometheus_rules.py from monitoring/prometheus/rules: change them there.
"""
OBJECT = """\
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: mlmon-{name}
  labels: {{app.kubernetes.io/name: mlmon}}
spec:
"""


def prometheus_rules() -> str:
    """Return the whole file: one object for each file of rules."""
    return HEAD + "---\n".join(_object(path) for path in sorted(RULES.glob("*.yml")))


def _object(path: Path) -> str:
    lines = path.read_text().splitlines()
    return OBJECT.format(name=path.stem) + "".join(f"  {line}\n" if line else "\n" for line in lines)


if __name__ == "__main__":
    WRITTEN.write_text(prometheus_rules())

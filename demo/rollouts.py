"""Two rollouts of the demo through the HTTP API: one of a broken version, one of a better version."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

from demo.client import MODEL_NAME, Client, ReplayError
from demo.extract import Flight

CHAMPION = "1.0.0"
MODEL_PATH = f"/api/v1/models/{MODEL_NAME}"
ACTIVE, ENDED = ("running", "paused"), ("succeeded", "rolled_back", "cancelled")
STEPS = [
    {"share": share, "minimum_requests": 100, "minimum_labels": 50, "minimum_seconds": 5} for share in (0.1, 0.25, 0.5)
]
GUARDRAILS = [{"measure": "errors"}, {"measure": "wrong_predictions"}]
FLIGHTS_AT_ONCE = 40  # a request each, then their outcomes in one request
PAUSE_SECONDS = 0.2
LONGEST_SECONDS = 300.0
CANCELLED_BECAUSE = "The demo ended before the rollout did."


@dataclass(frozen=True, slots=True)
class Challenger:
    """A version of the demo that is not in production at first.

    Attributes
    ----------
    expected
        The state in which its rollout ends.
    """

    version: str
    about: str
    expected: str

    @property
    def file(self) -> str:
        """The name of its file in the demo's folder."""
        return f"{MODEL_NAME}-{self.version}.onnx"


CHALLENGERS = (
    Challenger("1.2.0-broken", "two features exchanged inside the model", "rolled_back"),
    Challenger("1.1.0", "trained on flights of all months", "succeeded"),
)


class RolloutDemo:
    """Uploads the challengers, starts their rollouts, and sends flights with their outcomes until these have ended.

    Parameters
    ----------
    client
        With a token of the scope "all".
    folder
        The demo's folder, with the ONNX files.
    flights
        Are sent again and again.
    say
        Receives a line about each change.
    """

    def __init__(self, client: Client, folder: Path, flights: Iterable[Flight], say: Callable[[str], None]) -> None:
        self._client, self._folder, self._say = client, folder, say
        self._flights = cycle([flight for flight in flights if flight.outcome is not None])

    def run(self) -> list[dict[str, Any]]:
        """Return the ended rollouts as the API shows them; afterwards, 1.0.0 has all of the traffic again.

        Raises
        ------
        ReplayError
            The server is unavailable, refuses a request, or a rollout takes too long.
        """
        self._prepare()
        try:
            return [self._rollout(challenger) for challenger in CHALLENGERS]
        finally:
            if active := self._active_rollout():  # it takes too long, or a person has interrupted the demo
                self._client.call("POST", f"{MODEL_PATH}/rollouts/{active['id']}/cancel", {"reason": CANCELLED_BECAUSE})
            self._serve_champion()

    def _prepare(self) -> None:
        versions = {one["version"] for one in self._client.call("GET", MODEL_PATH)["versions"]}
        if CHAMPION not in versions:
            raise ReplayError(f"{MODEL_NAME} has no version {CHAMPION}. Run manage.py load_demo there.")
        if active := self._active_rollout():
            raise ReplayError(
                f"Rollout {active['id']} of {active['challenger']} is {active['state']}. End it first: "
                f"manage.py rollout cancel {MODEL_NAME}"
            )
        self._serve_champion()
        for challenger in CHALLENGERS:
            content = (self._folder / challenger.file).read_bytes()
            fields = {"version": challenger.version, "optional": "seats,plane_age,wind_speed,precip,visib"}
            self._client.upload(f"{MODEL_PATH}/versions", fields, {"artefact": (challenger.file, content)})
            self._say(f"Uploaded {MODEL_NAME} {challenger.version}: {challenger.about}.")

    def _active_rollout(self) -> dict[str, Any] | None:
        listed = self._client.call("GET", f"{MODEL_PATH}/rollouts")["results"]
        return next((one for one in listed if one["state"] in ACTIVE), None)

    def _serve_champion(self) -> None:
        self._client.call("POST", f"{MODEL_PATH}/versions/{CHAMPION}/stage", {"stage": "production"})

    def _rollout(self, challenger: Challenger) -> dict[str, Any]:
        plan = {"challenger": challenger.version, "steps": STEPS, "guardrails": GUARDRAILS}
        drafted = self._client.call("POST", f"{MODEL_PATH}/rollouts", {**plan, "promotes_automatically": True})
        path = f"{MODEL_PATH}/rollouts/{drafted['id']}"
        self._client.call("POST", f"{path}/start", {})
        self._say(f"\nRollout {drafted['id']}: {challenger.version} replaces {CHAMPION}, if it is no worse.")
        begun, said = time.monotonic(), ""
        while True:
            self._send_flights()
            state = self._client.call("GET", path)
            line = progress_line(state)
            if line != said:
                self._say(f"{time.monotonic() - begun:5.0f} s  {line}")
                said = line
            if state["state"] in ENDED:
                return state
            if time.monotonic() - begun > LONGEST_SECONDS:
                raise ReplayError(
                    f"The rollout of {challenger.version} did not end within {LONGEST_SECONDS:.0f} s and is cancelled. "
                    f"It waited for {state['waiting_for'] or 'the controller'}. Is a worker running?"
                )
            time.sleep(PAUSE_SECONDS)

    def _send_flights(self) -> None:
        outcomes = []
        for flight in _next(self._flights, FLIGHTS_AT_ONCE):
            (prediction_id,) = self._client.predict([flight.features]).ids
            outcomes.append({"prediction_id": prediction_id, "actual": flight.outcome})
        self._client.call("POST", "/api/v1/feedback", outcomes)


def progress_line(rollout: Mapping[str, Any]) -> str:
    """Return a rollout's state in one line."""
    steps: Sequence[Mapping[str, Any]] = rollout["steps"]
    if rollout["state"] in ENDED:
        return f"{rollout['state'].replace('_', ' ')}: {rollout['reason']}"
    if not rollout["is_live"]:
        return f"{rollout['state']}, the challenger gets no requests yet"
    evidence = ", ".join(
        f"{one['measure'].replace('_', ' ')} {one['log10_evidence']:.1f} of {one['log10_limit']:.1f}"
        for one in rollout["guardrails"]
    )
    share = steps[rollout["step"]]["share"]
    return f"{rollout['state']} with {share:.0%} of the requests; log10 of the evidence: {evidence}"


def _next(flights: Iterator[Flight], count: int) -> Iterator[Flight]:
    for _ in range(count):
        yield next(flights)

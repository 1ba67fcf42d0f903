"""The one operator of these DAGs, their steps, and the asset that they update."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import timedelta
from time import monotonic
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, BaseOperator, Param
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from penstock_command import Answer, Penstock, PenstockFailed, patience

if TYPE_CHECKING:
    from airflow.sdk import Context

Step = Callable[[Penstock, str], Answer]
"""A call of the command; gets the caller and the run's id."""

CREATED_USERS = Asset("created_users")
"""Updated when a run's users are in every store, and the ledger balances."""

DEFAULTS = {
    "owner": os.environ.get("PENSTOCK_OWNER", "penstock"),
    "retries": int(os.environ.get("PENSTOCK_RETRIES", "2")),
    "retry_delay": timedelta(seconds=float(os.environ.get("PENSTOCK_RETRY_DELAY", "30"))),
}

PARAMS = {
    "patience": Param(
        patience(os.environ),
        type="number",
        exclusiveMinimum=0,
        title="Patience",
        description="Seconds that a command waits, as for an API, until it gives up.",
    )
}
"""What a triggered run may set."""


def stream_data(penstock: Penstock, run_id: str) -> Answer:
    """Land what the API gives now, once: a run that was landed to its end is not landed again."""
    return penstock.call("ingest", "--run-id", run_id, *penstock.limit)


def format_data(penstock: Penstock, run_id: str) -> Answer:
    """Bring what has landed through the topic into the tables; the API is not asked again."""
    if os.environ.get("PENSTOCK_RUN") == "elsewhere":
        return penstock.caught_up()
    return penstock.call("run", "--until-idle", "--no-sources", *penstock.limit)


def prove(penstock: Penstock, run_id: str) -> Answer:
    """Compare the ledger and every row in the stores with the log."""
    return penstock.call("reconcile", "--deep")


class PenstockOperator(BaseOperator):
    """Takes steps one after the other; repeating them never doubles anything.

    A failure carries the command's reason. A wrong program or setting is not tried again. When the
    task is stopped, the command ends cleanly first.

    Args:
        steps: Calls of the command.
        kwargs: As for any operator.
    """

    def __init__(self, *, steps: Sequence[Step], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.steps = tuple(steps)
        self._penstock: Penstock | None = None

    def execute(self, context: Context) -> dict[str, Any]:
        """Take the steps; gives what each did, for XCom and the asset's event."""
        run = context["dag_run"]
        seconds = context["params"].get("patience", patience(os.environ))
        self._penstock = penstock = Penstock(os.environ, self.log.info, seconds)
        done: dict[str, Any] = {"run_id": f"{run.dag_id}/{run.run_id}"}
        try:
            for step in self.steps:
                began = monotonic()
                numbers = brief(step(penstock, done["run_id"]))
                done[step.__name__] = {"seconds": round(monotonic() - began, 3), **numbers}
        except PenstockFailed as error:
            kind = AirflowFailException if error.final else AirflowException
            raise kind(str(error)) from None
        for asset in self.outlets:
            context["outlet_events"][asset].extra = done
        return done

    def on_kill(self) -> None:
        """Let the command end cleanly."""
        if self._penstock is not None:
            self._penstock.stop()


def brief(answer: Answer) -> dict[str, Any]:
    """The numbers of an answer: responses that landed, and what became of records, by lane."""
    landed = {source["landing"]: source["responses"] for source in answer.get("sources", ())}
    lanes = {lane["lane"]: lane["counts"] for lane in answer.get("lanes", ())}
    return {"landed": landed, "lanes": lanes}

from __future__ import annotations

import pytest

from penstock.engines.spark.failures import WorkersDied, translate
from penstock.errors import LogChanged, PenstockError, PlanFailed, Refused, Unavailable

ABORTED = (
    "An error occurred while calling o68.collectToPython.\n"
    ": org.apache.spark.SparkException: Job aborted due to stage failure: Task 0 in stage 0.0 "
    "failed 4 times, most recent failure: Lost task 0.3 in stage 0.0 (TID 3) "
    "(10.0.0.7 executor 2): {}\n\tat org.apache.spark.X.y(X.scala:1)\n\nDriver stacktrace:\n"
    "\tat org.apache.spark.scheduler.DAGScheduler.z(DAGScheduler.scala:2)\n"
)
TRACEBACK = """An exception was thrown from the Python worker:
Traceback (most recent call last):
  File "/opt/spark/python/lib/pyspark.zip/pyspark/worker.py", line 3602, in main
    process()
  File "/work/app/0/penstock-program/shop.py", line 12, in to_user
    return people["missing"]
  File "/env/lib/python3.11/site-packages/polars/frame.py", line 7, in __getitem__
    raise KeyError(key)
{}
"""


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        (
            ABORTED.format("java.lang.OutOfMemoryError: Java heap space"),
            WorkersDied,
            "executor 2 on 10.0.0.7 ran out of memory (Java heap space); give it more memory",
        ),
        (
            ABORTED.format(
                "org.apache.spark.SparkException: Python worker exited unexpectedly (crashed). "
                "Consider setting 'spark.sql…'"
            ),
            WorkersDied,
            "the Python of executor 2 on 10.0.0.7 died again and again",
        ),
        (
            ABORTED.format(
                "ExecutorLostFailure (executor 2 exited caused by one of the running tasks) "
                "Reason: Command exited with code 137"
            ),
            WorkersDied,
            "the last on 10.0.0.7: Command exited with code 137; give it more memory",
        ),
        (
            ABORTED.format(
                'java.io.IOException: Cannot run program "/a/bin/python": error=2, No such file'
            ),
            Refused,
            "an executor has no Python at /a/bin/python; name one",
        ),
        (
            "pyspark.errors: [PYTHON_VERSION_MISMATCH] Python in worker has different version: "
            "3.12 than that in driver: 3.11, PySpark cannot run",
            Refused,
            "the executors run Python 3.12, the driver Python 3.11",
        ),
        (
            TRACEBACK.format("ModuleNotFoundError: No module named 'polars'"),
            Refused,
            "the executors' Python lacks the module polars; install it there, or ship",
        ),
        (
            TRACEBACK.format("KeyError: 'missing'"),
            PlanFailed,
            "a task failed on an executor: /work/app/0/penstock-program/shop.py:12: KeyError",
        ),
        (
            TRACEBACK.format("penstock.errors.Refused: the executors' Python has penstock 9"),
            Refused,
            "the executors' Python has penstock 9",
        ),
        (
            TRACEBACK.format("MemoryError"),
            WorkersDied,
            "the Python of an executor ran out of memory",
        ),
        (
            "Some data may have been lost because they are not available in Kafka any more;\n"
            "If you don't want your streaming query to fail, set failOnDataLoss to false.\n"
            "Reason: Partition t-0 offset was changed from 1000 to 50.\nThis could be either 1)",
            LogChanged,
            "(Partition t-0 offset was changed from 1000 to 50): it was deleted and made again",
        ),
        (
            "org.apache.kafka.common.errors.UnknownTopicOrPartitionException: This server does "
            "not host this topic-partition.\n=== Streaming Query ===\nIdentifier: [id = a1]",
            Unavailable,
            "Kafka does not host the topic",
        ),
        (
            "org.apache.kafka.common.errors.SaslAuthenticationException: Authentication failed",
            Refused,
            "Kafka refuses the executors (Authentication failed)",
        ),
        (
            "Cannot call methods on a stopped SparkContext.\nThis stopped SparkContext was …",
            Unavailable,
            "Spark's driver stopped",
        ),
        (
            "An error occurred while calling o1.x.\n: org.apache.spark.SparkException: odd\n"
            "\tat a.b(C.scala)\nCaused by: java.lang.IllegalStateException: very odd\n\tat d.e(F)",
            Unavailable,
            "Spark failed: java.lang.IllegalStateException: very odd (more is in driver.log)",
        ),
    ],
)
def test_failures_are_one_line_in_our_words(
    text: str, kind: type[PenstockError], words: str
) -> None:
    error = translate(RuntimeError(text))
    assert type(error) is kind
    assert words in str(error)
    assert "\n" not in str(error)
    assert len(str(error)) <= 400


def test_a_lost_connection_to_the_driver_is_its_death() -> None:
    assert "Spark's driver died" in str(translate(ConnectionRefusedError(111, "refused")))


def test_our_own_errors_stay() -> None:
    error = Refused("no")
    assert translate(error) is error


def test_no_secret_is_repeated() -> None:
    error = translate(RuntimeError("could not reach postgresql://me:hunter2@host/db"))
    assert "hunter2" not in str(error)
    assert "me:***@host" in str(error)


def test_what_spark_captured_is_read_without_asking_the_jvm() -> None:
    class Captured(Exception):
        _desc = "Failed to create new KafkaAdminClient"
        _stackTrace = (  # noqa: N815 - as pyspark calls it
            "Caused by: ConfigException: No resolvable bootstrap urls given in bootstrap.servers"
        )

        def __str__(self) -> str:
            raise ConnectionError

    assert "no host name in log" in str(translate(Captured()))

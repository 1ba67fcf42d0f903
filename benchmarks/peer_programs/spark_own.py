"""Spark's own way: its Kafka source and `from_json` with the checks, to nowhere or by JDBC.

The checks are those of `programs/user.py` as far as Spark has them: a number where a string should
be becomes a string. Two passes over the topic in one session; each says how long it took, so that
the second is that of a warm JVM. By JDBC it is at-least-once, its `foreachBatch` being what it is.

`python spark_own.py MASTER JARS KAFKA TOPIC noop|jdbc URL`, user and password of JDBC by the
variables PGUSER and PGPASSWORD.
"""

import json
import os
import shutil
import sys
import tempfile
import time

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

TEXT = ("first_name", "last_name", "address", "username", "phone", "picture")
SCHEMA = "uid string, dob timestamp, registered_date timestamp, " + ", ".join(
    f"{name} string" for name in (*TEXT, "gender", "post_code", "email")
)
UUID = r"^[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}$"
PASSES = 2


def session(master: str, jars: str) -> SparkSession:
    settings = {
        "spark.jars": jars,
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.driver.memory": "1g",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.sql.session.timeZone": "UTC",
        "spark.kafka.consumer.cache.capacity": "1024",
    }
    builder = SparkSession.builder.master(master)
    for name, value in settings.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()


def people(spark: SparkSession, kafka: str, topic: str) -> DataFrame:
    """The topic's good records, their address of mail in lower case."""
    options = {
        "kafka.bootstrap.servers": kafka,
        "subscribe": topic,
        "startingOffsets": "earliest",
        "kafka.isolation.level": "read_committed",
    }
    stream = spark.readStream.format("kafka").options(**options).load()
    rows = stream.select(f.from_json(f.col("value").cast("string"), SCHEMA).alias("r")).select(
        "r.*"
    )
    good = (
        f.col("uid").rlike(UUID)
        & f.col("gender").isin("female", "male")
        & (f.length("post_code") > 0)
        & f.col("email").rlike(r"^[^@\s]+@[^@\s]+$")
    )
    for name in (*TEXT, "dob", "registered_date"):
        good &= f.col(name).isNotNull()
    return rows.where(good).withColumn("email", f.lower("email"))


def by_jdbc(url: str, batch: DataFrame) -> None:
    options = {
        "url": f"{url}?reWriteBatchedInserts=true&stringtype=unspecified",
        "dbtable": "peer",
        "driver": "org.postgresql.Driver",
        "batchsize": "10000",
        "user": os.environ["PGUSER"],
        "password": os.environ["PGPASSWORD"],
    }
    batch.write.format("jdbc").options(**options).mode("append").save()


def main(master: str, jars: str, *way: str) -> None:
    kafka, topic, sink, url = way
    spark = session(master, jars)
    passes = []
    for _ in range(PASSES):
        folder = tempfile.mkdtemp()
        writer = people(spark, kafka, topic).writeStream.option("checkpointLocation", folder)
        if sink == "jdbc":
            writer = writer.foreachBatch(lambda batch, _: by_jdbc(url, batch))
        else:
            writer = writer.format("noop")
        started = time.perf_counter()
        query = writer.trigger(availableNow=True).start()
        query.awaitTermination()
        rows = sum(progress["numInputRows"] for progress in query.recentProgress)
        passes.append({"seconds": time.perf_counter() - started, "rows": rows})
        shutil.rmtree(folder)
    print(json.dumps({"version": spark.version, "passes": passes}))
    spark.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])

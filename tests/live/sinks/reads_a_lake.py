"""What Spark and Hive see of a lake: run as a process, prints JSON. Arguments: folder, scratch."""

from __future__ import annotations

import json
import sys

from pyspark.sql import SparkSession

DDL = """
CREATE EXTERNAL TABLE orders (id bigint, amount decimal(12,2), day date, at timestamp,
    tags array<string>, _partition int, _offset bigint, _index bigint)
PARTITIONED BY (country string, at_date date) STORED AS PARQUET LOCATION '{}'
"""
LOOK = "SELECT count(*), count(DISTINCT id), sum(amount), min(at), count(country) FROM {}"


def main(folder: str, scratch: str) -> None:
    spark = (
        SparkSession.builder.master("local[1]")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", "1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.sources.partitionColumnTypeInference.enabled", "false")
        .config("spark.sql.catalogImplementation", "hive")
        .config("spark.sql.warehouse.dir", f"{scratch}/warehouse")
        .config(
            "spark.hadoop.javax.jdo.option.ConnectionURL",
            f"jdbc:derby:;databaseName={scratch}/metastore;create=true",
        )
        .getOrCreate()
    )
    spark.read.option("mergeSchema", "true").parquet(folder).createOrReplaceTempView("plain")
    spark.sql(DDL.format(folder))
    spark.sql("MSCK REPAIR TABLE orders")
    found = {}
    for name, native in (("plain", "true"), ("orders", "true"), ("orders", "false")):
        spark.conf.set("spark.sql.hive.convertMetastoreParquet", native)  # false: Hive's reader
        # Hive 2, which comes with Spark, reads no timestamps but those of 96 bits.
        look = LOOK.replace("min(at)", "min(day)") if native == "false" else LOOK
        row = spark.sql(look.format(name)).collect()[0]
        groups = spark.sql(f"SELECT country, count(*) FROM {name} GROUP BY 1 ORDER BY 1").collect()
        tags = spark.sql(f"SELECT tags FROM {name} WHERE id = 7").collect()[0][0]
        found[f"{name} {native}"] = [
            *map(str, row),
            [[group[0], group[1]] for group in groups],
            list(tags),
        ]
    types = {f.name: f.dataType.simpleString() for f in spark.table("plain").schema.fields}
    print(json.dumps({"found": found, "types": types}))
    spark.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])

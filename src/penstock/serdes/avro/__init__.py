"""Avro: contracts as schemas, values written and read column by column."""

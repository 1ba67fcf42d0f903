"""The declaration of a pipeline: an immutable graph; no I/O."""

from penstock.pipeline.declare import Merged, Pipeline, Stream
from penstock.pipeline.program import load
from penstock.pipeline.settings import Retention
from penstock.profile import EnvVar, env

__all__ = ["EnvVar", "Merged", "Pipeline", "Retention", "Stream", "env", "load"]

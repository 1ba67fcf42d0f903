"""The files that services are made of: locked, fetched once, verified always.

The lock (`lock.toml`) names every file with its size and SHA-256. `classpath` and `unpacked` give
what a service is started from and fetch what is missing into a cache, which all projects of a user
share and several processes may use at once.
"""

from penstock.services.artifacts.cache import classpath, ensure, unpacked

__all__ = ["classpath", "ensure", "unpacked"]

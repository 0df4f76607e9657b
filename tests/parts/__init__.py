"""Real servers for tests, run as child processes: Kafka, a schema registry, Prometheus, Alertmanager.

Owns fetching them once into a cache outside the work tree, starting, killing, pausing and ending them.
Does not own any test; what a test asks for is in tests/conftest.py.
"""

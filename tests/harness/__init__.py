"""The pieces that tests, demo and benchmarks are built of: a private Postgres,
brokers, the Daraja simulator, the real binaries, and an oracle that compares
what all of them remember. Debian's packages of Python modules only."""

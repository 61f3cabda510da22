"""make bench: what Foleni costs and how fast it is on this machine, beside the
figures to reach. bench.py runs the cases of cases/; README.md says how."""

"""Sandboxes on Kubernetes: render, apply, observe, probe, delete; and the simulator.

Only `driver` imports the `kubernetes` package, which costs about a second:
everything else here may be imported by the web and index processes.
"""

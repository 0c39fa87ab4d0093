"""Starts all of Petridish on one machine and keeps it running; `portal.run` is its entry."""

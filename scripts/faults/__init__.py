"""Small trainings with one fault each, for `scripts/check_monitor.py`."""

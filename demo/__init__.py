"""The two demo models, their data, and the script that makes them (``python -m demo.train``)."""

"""From a clone to a running function: package.py writes what is uploaded, submit.py sends it to Cloud Build."""

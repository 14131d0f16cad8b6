"""The HTTP function: routes, handlers and error envelopes."""

"""HTTP: routes, handlers, envelopes. Knows no tensor."""

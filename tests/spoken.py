"""All protocols and routes of the function, as with its default settings."""

from functions.protocols import OPTIONAL, speaking
from functions.route import routes_of

PROTOCOLS = speaking(OPTIONAL)
ROUTES = routes_of(PROTOCOLS)

"""The JSON front door."""

from optimizer.rest_api.access import Access as Access
from optimizer.rest_api.app import Deps as Deps
from optimizer.rest_api.app import make_app as make_app
from optimizer.rest_api.server import ConnectionLimits as ConnectionLimits
from optimizer.rest_api.server import Doorman as Doorman
from optimizer.rest_api.server import ListenSocket as ListenSocket
from optimizer.rest_api.server import listen_socket as listen_socket
from optimizer.rest_api.service import run as run

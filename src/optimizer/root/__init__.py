"""The root of the tree: what the services share, what is told about them, and the tasks that watch over them."""

from optimizer.root.breakers import make_breaker as make_breaker
from optimizer.root.parts import Declare as Declare
from optimizer.root.parts import Parts as Parts
from optimizer.root.parts import Surroundings as Surroundings
from optimizer.root.parts import grace_of as grace_of
from optimizer.root.parts import make_parts as make_parts
from optimizer.root.reload import Reloader as Reloader
from optimizer.root.tasks import make_routes as make_routes
from optimizer.root.telling import Teller as Teller

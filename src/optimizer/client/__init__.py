"""The Python client: every service of the gRPC API, on Trio."""

from optimizer.client.channel import Channel as Channel
from optimizer.client.channel import open_channel as open_channel
from optimizer.client.optimizer import Client as Client
from optimizer.client.optimizer import open_client as open_client

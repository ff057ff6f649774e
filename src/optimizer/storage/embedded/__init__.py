"""The embedded store: one file in the format of `dbm.sqlite3`, no server beside it."""

from optimizer.storage.embedded.store import EmbeddedStore as EmbeddedStore
from optimizer.storage.embedded.store import open_embedded as open_embedded

"""The log and the documents: two small protocols and the stores that keep them."""

from optimizer.storage.breaking import BreakingStore as BreakingStore
from optimizer.storage.breaking import guard_store as guard_store
from optimizer.storage.embedded import open_embedded as open_embedded
from optimizer.storage.memory import FaultHook as FaultHook
from optimizer.storage.memory import MemoryState as MemoryState
from optimizer.storage.memory import Moment as Moment
from optimizer.storage.memory import open_memory as open_memory
from optimizer.storage.protocols import ABSENT as ABSENT
from optimizer.storage.protocols import ANY_VERSION as ANY_VERSION
from optimizer.storage.protocols import Appended as Appended
from optimizer.storage.protocols import Cursor as Cursor
from optimizer.storage.protocols import Delete as Delete
from optimizer.storage.protocols import Document as Document
from optimizer.storage.protocols import Documents as Documents
from optimizer.storage.protocols import Entry as Entry
from optimizer.storage.protocols import Log as Log
from optimizer.storage.protocols import Put as Put
from optimizer.storage.protocols import Record as Record
from optimizer.storage.protocols import Store as Store
from optimizer.storage.protocols import StoreHealth as StoreHealth
from optimizer.storage.selection import StoreKind as StoreKind
from optimizer.storage.selection import open_store as open_store
from optimizer.storage.slotted import SlottedStore as SlottedStore

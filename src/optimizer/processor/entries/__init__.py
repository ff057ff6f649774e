"""Configuration entries: scoped, versioned, with masked secrets. Both front doors use this room."""

from optimizer.processor.entries.documents import export_entries as export_entries
from optimizer.processor.entries.documents import read_entries as read_entries
from optimizer.processor.entries.entries import Entries as Entries
from optimizer.processor.entries.entries import Imported as Imported
from optimizer.processor.entries.values import MASK as MASK
from optimizer.processor.entries.values import Draft as Draft
from optimizer.processor.entries.values import Entry as Entry
from optimizer.processor.entries.values import EntryVersion as EntryVersion
from optimizer.processor.entries.values import masked as masked

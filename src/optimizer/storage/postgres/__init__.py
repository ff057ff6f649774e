"""The store in PostgreSQL: system of record when one machine is not enough."""

from optimizer.storage.postgres.migrations import Migration as Migration
from optimizer.storage.postgres.migrations import Migrations as Migrations
from optimizer.storage.postgres.migrations import open_migrations as open_migrations
from optimizer.storage.postgres.store import PostgresStore as PostgresStore
from optimizer.storage.postgres.store import open_postgres as open_postgres

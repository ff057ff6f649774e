DROP FUNCTION commit_documents, append_log, move_log_head, lock_log_head, begin_log_day;
DROP TABLE cursors;
DROP TABLE documents;
DROP TABLE dedup;
DROP TABLE log_head;
DROP TABLE log_days;
DROP TABLE log;

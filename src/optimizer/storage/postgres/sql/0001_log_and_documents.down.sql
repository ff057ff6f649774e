DROP TABLE cursors;
DROP TABLE documents;
DROP TABLE dedup;
DROP TABLE log_head;
DROP TABLE log_days;
DROP TABLE log;

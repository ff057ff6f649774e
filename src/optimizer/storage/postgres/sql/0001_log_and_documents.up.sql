-- The log. `position` is the offset; one row of log_head is locked by every append until it commits, so positions
-- become visible in their order and a reader that has seen position n never misses a smaller one.
CREATE TABLE log (
    day      date   NOT NULL,
    position bigint NOT NULL,
    kind     bytea  NOT NULL,  -- UTF-8; text would not hold every character that a key may have
    key      bytea  NOT NULL,
    payload  bytea  NOT NULL,
    PRIMARY KEY (day, position)
) PARTITION BY RANGE (day);

-- Which positions a day holds: reading from a position asks only the partitions from its day on.
CREATE TABLE log_days (
    day            date   PRIMARY KEY,
    first_position bigint NOT NULL UNIQUE
);

CREATE TABLE log_head (
    one      boolean PRIMARY KEY DEFAULT true CHECK (one),  -- there is one row
    position bigint  NOT NULL,
    day      date    NOT NULL
);
INSERT INTO log_head (position, day) VALUES (0, DATE '1970-01-01');

-- 16-byte fingerprints of every dedup key ever appended; they outlive the partitions of the log.
CREATE TABLE dedup (
    print bytea PRIMARY KEY
);

CREATE TABLE documents (
    key     bytea  PRIMARY KEY,
    version bigint NOT NULL CHECK (version > 0),
    body    bytea  NOT NULL
);

CREATE TABLE cursors (
    name     bytea  PRIMARY KEY,
    position bigint NOT NULL
);

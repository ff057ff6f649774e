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

-- A partition for the day. ATTACH lets readers go on; CREATE TABLE ... PARTITION OF would stop them for a moment.
CREATE FUNCTION begin_log_day(today date, first bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    partition text := 'log_' || to_char(today, 'YYYYMMDD');
BEGIN
    EXECUTE format('CREATE TABLE %I (LIKE log INCLUDING ALL)', partition);
    EXECUTE format('ALTER TABLE log ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', partition, today, today + 1);
    INSERT INTO log_days (day, first_position) VALUES (today, first);
END
$$;

-- Lock the head until the transaction ends, and begin a new day when there is one: where and when to append.
CREATE FUNCTION lock_log_head(at timestamptz, OUT first bigint, OUT today date) LANGUAGE plpgsql AS $$
DECLARE
    head log_head;
BEGIN
    SELECT * INTO STRICT head FROM log_head FOR UPDATE;
    first := head.position + 1;
    today := greatest(head.day, (at AT TIME ZONE 'utc')::date);  -- a clock that goes back stays on the newest day
    IF today > head.day THEN
        PERFORM begin_log_day(today, first);
        UPDATE log_head SET day = today;  -- also when nothing new is appended: the day has begun
    END IF;
END
$$;

-- The log ends here now; whoever listens hears of it when the transaction commits. Channels are per database, so the
-- schema is part of the message.
CREATE FUNCTION move_log_head(last bigint) RETURNS void LANGUAGE sql AS $$
    UPDATE log_head SET position = last;
    SELECT pg_notify('optimizer_log', current_schema() || ' ' || last);
$$;

-- Append records in order: the position of each, NULL for one whose fingerprint is known or was before it in the batch.
CREATE FUNCTION append_log(kinds bytea[], keys bytea[], payloads bytea[], prints bytea[], at timestamptz)
RETURNS bigint[] LANGUAGE plpgsql AS $$
DECLARE
    head record;
    positions bigint[];
    last bigint;
BEGIN
    SELECT * INTO head FROM lock_log_head(at);
    WITH given AS (
        SELECT * FROM unnest(kinds, keys, payloads, prints) WITH ORDINALITY AS g (kind, key, payload, print, n)
    ), fresh AS (
        INSERT INTO dedup (print) SELECT print FROM given WHERE print IS NOT NULL ON CONFLICT DO NOTHING RETURNING print
    ), chosen AS (
        SELECT min(n) AS n FROM given JOIN fresh USING (print) GROUP BY print
        UNION ALL
        SELECT n FROM given WHERE print IS NULL
    ), placed AS (
        SELECT n, head.first - 1 + row_number() OVER (ORDER BY n) AS position FROM chosen
    ), written AS (
        INSERT INTO log (day, position, kind, key, payload)
        SELECT head.today, position, kind, key, payload FROM placed JOIN given USING (n) ORDER BY position
    )
    SELECT array_agg(position ORDER BY n), max(position) INTO positions, last FROM given LEFT JOIN placed USING (n);
    IF last IS NOT NULL THEN
        PERFORM move_log_head(last);
    END IF;
    RETURN positions;
END
$$;

-- Apply changes in order (a NULL body deletes) and set the cursor; the new version of each, 0 for a delete. -1 expects
-- any version, 0 none. OC001: a version is not the expected one (the detail: which change, the version found).
-- OC002: another transaction created the same document meanwhile.
CREATE FUNCTION commit_documents(keys bytea[], bodies bytea[], expected bigint[], cursor_name bytea, cursor_at bigint)
RETURNS bigint[] LANGUAGE plpgsql AS $$
DECLARE
    versions bigint[] := '{}';
    found_version bigint;
BEGIN
    PERFORM 1 FROM documents WHERE key = ANY (keys) ORDER BY key FOR UPDATE;  -- in one order: no deadlocks
    FOR i IN 1 .. cardinality(keys) LOOP
        SELECT version INTO found_version FROM documents WHERE key = keys[i] FOR UPDATE;
        found_version := coalesce(found_version, 0);
        IF expected[i] NOT IN (-1, found_version) THEN
            RAISE EXCEPTION 'conflict' USING ERRCODE = 'OC001', DETAIL = i || ' ' || found_version;
        ELSIF bodies[i] IS NULL THEN
            DELETE FROM documents WHERE key = keys[i];
            versions := versions || 0::bigint;
        ELSE
            IF found_version = 0 THEN
                INSERT INTO documents (key, version, body) VALUES (keys[i], 1, bodies[i]) ON CONFLICT DO NOTHING;
                IF NOT FOUND THEN
                    RAISE EXCEPTION 'a document appeared meanwhile' USING ERRCODE = 'OC002';
                END IF;
            ELSE
                UPDATE documents SET version = found_version + 1, body = bodies[i] WHERE key = keys[i];
            END IF;
            versions := versions || (found_version + 1);
        END IF;
    END LOOP;
    IF cursor_name IS NOT NULL THEN
        INSERT INTO cursors (name, position) VALUES (cursor_name, cursor_at)
        ON CONFLICT (name) DO UPDATE SET position = excluded.position;
    END IF;
    RETURN versions;
END
$$;

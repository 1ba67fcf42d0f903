-- Who works on a partition of a segment. A row stays for ever: its epoch only grows.
CREATE TABLE penstock.leases (
    pipeline      text NOT NULL,
    segment       text NOT NULL,
    partition     int NOT NULL,
    epoch         bigint NOT NULL DEFAULT 0,
    owner         text,                       -- null: free
    host          text,
    process       int,
    session_pid   int,                        -- the holder's session with home …
    session_start timestamptz,                -- … by which its death is noticed at once
    since         timestamptz,
    expires       timestamptz,
    PRIMARY KEY (pipeline, segment, partition)
) WITH (fillfactor = 50);

-- Leases that are not free. The start of another role's session is hidden: then the clock decides.
CREATE VIEW penstock.held_leases AS
SELECT * FROM penstock.leases
WHERE owner IS NOT NULL AND expires > clock_timestamp() AND EXISTS (
    SELECT FROM pg_stat_get_activity(session_pid) AS session
    WHERE coalesce(session.backend_start = session_start, true));

-- A micro-batch that sinks may have begun to commit: one row for each partition.
CREATE SEQUENCE penstock.batch_ids;
CREATE TABLE penstock.batches (
    id           bigint NOT NULL,
    partition    int NOT NULL,
    pipeline     text NOT NULL,
    segment      text NOT NULL,
    log_id       text NOT NULL,
    start_offset bigint NOT NULL,
    end_offset   bigint NOT NULL,
    epoch        bigint NOT NULL,
    lanes        text[] NOT NULL,
    plan         text NOT NULL,
    attempts     int NOT NULL DEFAULT 1,
    opened_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (id, partition)
);
CREATE INDEX ON penstock.batches (pipeline, segment, partition);

-- A short name for a lane's progress on one log; ledger and letters are many rows.
CREATE TABLE penstock.lanes (
    id       int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    pipeline text NOT NULL,
    log_id   text NOT NULL,
    segment  text NOT NULL,
    lane     text NOT NULL,
    UNIQUE (pipeline, log_id, segment, lane)
);

-- Where the ledger of a lane and partition ends.
CREATE TABLE penstock.tails (
    lane         int NOT NULL REFERENCES penstock.lanes,
    partition    int NOT NULL,
    end_offset   bigint NOT NULL DEFAULT 0,
    records      bigint NOT NULL DEFAULT 0,
    absent       bigint NOT NULL DEFAULT 0,
    expanded     bigint NOT NULL DEFAULT 0,
    written      bigint NOT NULL DEFAULT 0,
    superseded   bigint NOT NULL DEFAULT 0,
    deleted      bigint NOT NULL DEFAULT 0,
    filtered     bigint NOT NULL DEFAULT 0,
    deduplicated bigint NOT NULL DEFAULT 0,
    dead         bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (lane, partition)
) WITH (fillfactor = 50);

-- What became of the records of a span.
CREATE TABLE penstock.ledger (
    lane         int NOT NULL,
    partition    int NOT NULL,
    start_offset bigint NOT NULL,
    end_offset   bigint NOT NULL CHECK (end_offset > start_offset),
    records      bigint NOT NULL,
    absent       bigint NOT NULL,
    expanded     bigint NOT NULL,
    written      bigint NOT NULL,
    superseded   bigint NOT NULL,
    deleted      bigint NOT NULL,
    filtered     bigint NOT NULL,
    deduplicated bigint NOT NULL,
    dead         bigint NOT NULL,
    batches      int NOT NULL,                -- how many closes were merged into this row
    timings      jsonb NOT NULL,              -- histograms by stage
    plan         text NOT NULL,
    opened_at    timestamptz,
    closed_at    timestamptz NOT NULL,
    PRIMARY KEY (lane, partition, start_offset)
);
CREATE INDEX ON penstock.ledger (closed_at);

-- Order stamp of a record = base + offset.
CREATE TABLE penstock.order_bases (
    log_id    text NOT NULL,
    partition int NOT NULL,
    base      bigint NOT NULL,
    seen      bigint NOT NULL,                -- the greatest end of the partition ever reported
    PRIMARY KEY (log_id, partition)
);

-- Why letters are dead, once for each group.
CREATE TABLE penstock.causes (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    pipeline text NOT NULL,
    segment  text NOT NULL,
    stage    text NOT NULL,
    rule     text NOT NULL,
    field    text NOT NULL,
    detail   text NOT NULL
);
CREATE UNIQUE INDEX causes_once ON penstock.causes
    (pipeline, segment, stage, hashtextextended(rule, 0), hashtextextended(field, 0));

-- The log records that letters are about, byte for byte, once for each record.
CREATE TABLE penstock.payloads (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    pipeline    text NOT NULL,
    log_id      text NOT NULL,
    partition   int NOT NULL,
    "offset"    bigint NOT NULL,
    key         bytea,
    value       bytea,
    headers     bytea,
    born        timestamptz NOT NULL,
    order_stamp bigint NOT NULL,
    UNIQUE (pipeline, log_id, partition, "offset")
);

-- Dead letters. Whether one is pending, dead, replaying or replayed follows from the ledger's
-- tails (see the view below): nothing has to be updated when a micro-batch closes.
-- No foreign keys: their checks would double the time that a batch full of letters takes.
CREATE TABLE penstock.letters (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    lane          int NOT NULL,
    partition     int NOT NULL,               -- position in the log that was read,
    "offset"      bigint NOT NULL,            -- for a replay: in the replay log
    index         bigint NOT NULL,
    payload       bigint NOT NULL,
    cause         bigint NOT NULL,
    value         text NOT NULL,
    batch         bigint NOT NULL,
    recorded_at   timestamptz NOT NULL DEFAULT now(),
    previous      bigint,                     -- the letter whose replay failed with this one
    replay        bigint,                     -- offset in the replay log
    discarded_at  timestamptz,
    discarded_by  text,
    reason        text,
    UNIQUE (lane, partition, "offset", index)
);
CREATE INDEX ON penstock.letters (payload);
CREATE INDEX ON penstock.letters (previous) WHERE previous IS NOT NULL;

-- Dead letters sent back: one more partition of the segment's log.
CREATE TABLE penstock.replays (
    pipeline text NOT NULL,
    segment  text NOT NULL,
    log_id   text NOT NULL,                   -- of the segment's log
    "offset" bigint NOT NULL,
    payload  bigint NOT NULL REFERENCES penstock.payloads,
    index    bigint NOT NULL,
    lanes    text[] NOT NULL,
    asked_at timestamptz NOT NULL DEFAULT now(),
    asked_by text NOT NULL,
    PRIMARY KEY (pipeline, segment, log_id, "offset")
);
CREATE INDEX ON penstock.replays (payload);

-- Contracts as programs declared them.
CREATE TABLE penstock.contracts (
    pipeline    text NOT NULL,
    name        text NOT NULL,                -- "topic users_created", "table created_users@warehouse"
    version     int NOT NULL,
    contract    jsonb NOT NULL,
    fingerprint text NOT NULL,
    first_seen  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (pipeline, name, version)
);

-- The identity that each log had when the pipeline read it last.
CREATE TABLE penstock.known_logs (
    pipeline text NOT NULL,
    name     text NOT NULL,
    log_id   text NOT NULL,
    since    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (pipeline, name)
);

-- The lanes of each pipeline's current program, and those it had before.
CREATE TABLE penstock.programs (
    pipeline   text NOT NULL,
    segment    text NOT NULL,
    kind       text NOT NULL,                 -- landing or topic
    lane       text NOT NULL,
    store      text NOT NULL,
    target     text NOT NULL,                 -- table or topic
    mode       text NOT NULL,
    place      bigint NOT NULL,               -- in the program's order
    framing    jsonb NOT NULL,                -- how records lie in a value of the log
    current    boolean NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (pipeline, segment, lane)
);

-- For people and for Penstock itself: each letter with what has become of it.
CREATE VIEW penstock.dead_letters AS
SELECT letters.id, lanes.pipeline, lanes.segment, lanes.lane, lanes.log_id,
       payloads.partition, payloads."offset", letters.index,
       CASE
           WHEN letters."offset" >= coalesce(tails.end_offset, 0) THEN 'pending'
           WHEN letters.discarded_at IS NOT NULL THEN 'discarded'
           WHEN letters.replay IS NULL THEN 'dead'
           WHEN letters.replay >= coalesce(replayed.end_offset, 0) THEN 'replaying'
           WHEN EXISTS (SELECT FROM penstock.letters AS next WHERE next.previous = letters.id)
               THEN 'failed again'
           ELSE 'replayed'
       END AS state,
       letters.cause, causes.stage, causes.rule, causes.field, letters.value,
       letters.recorded_at, letters.batch, letters.payload, letters.previous, letters.replay,
       letters.discarded_at, letters.discarded_by, letters.reason
FROM penstock.letters
JOIN penstock.lanes ON lanes.id = letters.lane
JOIN penstock.payloads ON payloads.id = letters.payload
JOIN penstock.causes ON causes.id = letters.cause
LEFT JOIN penstock.tails ON tails.lane = letters.lane AND tails.partition = letters.partition
LEFT JOIN penstock.lanes AS again
    ON again.pipeline = lanes.pipeline AND again.segment = lanes.segment
    AND again.lane = lanes.lane AND again.log_id = 'replay:' || payloads.log_id
LEFT JOIN penstock.tails AS replayed ON replayed.lane = again.id AND replayed.partition = -1;

-- Letters by what a command was told; what is null does not narrow it.
CREATE FUNCTION penstock.select_letters(
    of_pipeline text, of_segment text, of_lane text, of_cause bigint, of_ids bigint[]
) RETURNS SETOF penstock.dead_letters LANGUAGE sql STABLE AS $$
    SELECT * FROM penstock.dead_letters
    WHERE pipeline = of_pipeline
        AND (of_segment IS NULL OR segment = of_segment)
        AND (of_lane IS NULL OR lane = of_lane)
        AND (of_cause IS NULL OR cause = of_cause)
        AND (of_ids IS NULL OR id = ANY(of_ids))
$$;

-- For people: the ledger in names.
CREATE VIEW penstock.ledger_view AS
SELECT lanes.pipeline, lanes.segment, lanes.lane, lanes.log_id, ledger.partition,
       start_offset, end_offset, records, absent, expanded,
       written, superseded, deleted, filtered, deduplicated, dead,
       end_offset - start_offset = records + absent AND records + expanded
           = written + superseded + deleted + filtered + deduplicated + dead AS balanced,
       batches, opened_at, closed_at
FROM penstock.ledger
JOIN penstock.lanes ON lanes.id = ledger.lane
ORDER BY pipeline, segment, lane, log_id, ledger.partition, start_offset;

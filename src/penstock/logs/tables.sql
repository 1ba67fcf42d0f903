-- The PostgreSQL log. Each log is one table, range-partitioned by (partition, offset); its
-- children lie in the schema penstock, named by numbers, so that no user's name can be too long.

CREATE SCHEMA IF NOT EXISTS penstock;
CREATE SCHEMA IF NOT EXISTS landing;
CREATE SCHEMA IF NOT EXISTS topics;

CREATE TABLE IF NOT EXISTS penstock.logs (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    log_id uuid NOT NULL UNIQUE DEFAULT gen_random_uuid(),
    kind text NOT NULL CHECK (kind IN ('landing', 'topic')),
    name text NOT NULL,
    view text NOT NULL,
    pipeline text,
    child_rows bigint NOT NULL,
    retention jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (kind, name)
);

-- One row for each partition: the oldest kept offset, the next one to be given, and up to where
-- children exist. A writer locks it last and until its commit: offsets are gapless and follow
-- the order of commits.
CREATE TABLE IF NOT EXISTS penstock.log_heads (
    id int NOT NULL REFERENCES penstock.logs ON DELETE CASCADE,
    partition int NOT NULL,
    start bigint NOT NULL DEFAULT 0,
    next bigint NOT NULL DEFAULT 0,
    room bigint NOT NULL DEFAULT 0,
    largest bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (id, partition)
) WITH (fillfactor = 20);

CREATE TABLE IF NOT EXISTS penstock.log_children (
    id int NOT NULL REFERENCES penstock.logs ON DELETE CASCADE,
    partition int NOT NULL,
    lower bigint NOT NULL,
    upper bigint NOT NULL,
    opened_at timestamptz,
    sealed_at timestamptz,
    PRIMARY KEY (id, partition, lower)
);

-- Where a source stands; run '' is the landing itself. A run that is apart (a range that is
-- filled in) has a cursor of its own and leaves the landing's alone.
CREATE TABLE IF NOT EXISTS penstock.landing_cursors (
    id int NOT NULL REFERENCES penstock.logs ON DELETE CASCADE,
    run text NOT NULL,
    version bigint NOT NULL DEFAULT 0,
    cursor text NOT NULL,
    finished boolean NOT NULL DEFAULT false,
    updated_at timestamptz NOT NULL DEFAULT now(),
    apart boolean NOT NULL DEFAULT false,
    PRIMARY KEY (id, run)
);
ALTER TABLE penstock.landing_cursors ADD COLUMN IF NOT EXISTS apart boolean NOT NULL DEFAULT false;

CREATE OR REPLACE FUNCTION penstock.log_table(log int) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT format('%I.%I', CASE kind WHEN 'topic' THEN 'topics' ELSE 'landing' END, name)
    FROM penstock.logs WHERE id = log
$$;

CREATE OR REPLACE FUNCTION penstock.log_add_child(log int, part int, low bigint, high bigint)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    child text := format('penstock.%I', format('log_%s_%s_%s', log, part, low));
    parent text := penstock.log_table(log);
BEGIN
    -- Attaching, unlike CREATE … PARTITION OF, blocks neither readers nor writers.
    EXECUTE format('CREATE TABLE %s (LIKE %s INCLUDING STORAGE INCLUDING CONSTRAINTS)',
                   child, parent);
    EXECUTE format('ALTER TABLE %s SET (toast_tuple_target = 8160)', child);
    EXECUTE format('ALTER TABLE %s ATTACH PARTITION %s FOR VALUES FROM (%s, %s) TO (%s, %s)',
                   parent, child, part, low, part, high);
    INSERT INTO penstock.log_children (id, partition, lower, upper)
    VALUES (log, part, low, high);
END $$;

CREATE OR REPLACE FUNCTION penstock.log_extend(log int, part int, upto bigint)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    low bigint;
    high bigint;
BEGIN
    SELECT h.room, greatest(upto, h.room + l.child_rows) INTO low, high
    FROM penstock.log_heads h JOIN penstock.logs l USING (id)
    WHERE h.id = log AND h.partition = part FOR UPDATE OF h;
    IF low < upto THEN
        PERFORM penstock.log_add_child(log, part, low, high);
        UPDATE penstock.log_heads SET room = high WHERE id = log AND partition = part;
    END IF;
END $$;

-- Appends a batch. Keys and values come as two strings of bytes that are cut here (a size of -1
-- is a null); `rank` numbers the records of each partition from 0; `shares` counts them. Returns
-- where each partition's records begin.
CREATE OR REPLACE FUNCTION penstock.log_append(
    log int, shares jsonb, parts int[], ranks int[], key_starts int[], key_sizes int[], keys bytea,
    value_starts int[], value_sizes int[], vals bytea, heads text[], borns bigint[]
) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    share record;
    head record;
    bases bigint[];
    answer jsonb := '{}';
    written bigint;
    total bigint := 0;
BEGIN
    FOR share IN
        SELECT s.partition AS part, s.records, s.largest
        FROM jsonb_to_recordset(shares) AS s(partition int, records bigint, largest bigint)
        ORDER BY s.partition
    LOOP
        UPDATE penstock.log_heads h
        SET next = h.next + share.records, largest = greatest(h.largest, share.largest)
        WHERE h.id = log AND h.partition = share.part
        RETURNING h.next - share.records AS base INTO head;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'log % has no partition %', penstock.log_table(log), share.part
                USING ERRCODE = 'PSL01';
        END IF;
        bases[share.part] := head.base;
        total := total + share.records;
        answer := answer || jsonb_build_object(share.part::text, head.base);
    END LOOP;
    -- Only once all heads are ours, or else retention and we could wait for each other.
    PERFORM penstock.log_extend(log, h.partition, h.next) FROM penstock.log_heads h
    WHERE h.id = log AND answer ? h.partition::text AND h.next > h.room;
    EXECUTE format(
        'INSERT INTO %s (partition, "offset", key, value, headers, born)
         SELECT r.part, $1[r.part] + r.rank,
            CASE WHEN r.key_size >= 0 THEN substring($2 FROM r.key_start + 1 FOR r.key_size) END,
            CASE WHEN r.value_size >= 0
                THEN substring($3 FROM r.value_start + 1 FOR r.value_size) END,
            r.head,
            -- In two parts, which a multiplication by a double leaves exact.
            timestamptz ''epoch'' + r.born / 1000000 * interval ''1 second''
                + r.born %% 1000000 * interval ''1 microsecond''
         FROM unnest($4, $5, $6, $7, $8, $9, $10, $11)
            AS r(part, rank, key_start, key_size, value_start, value_size, head, born)',
        penstock.log_table(log))
    USING bases, keys, vals, parts, ranks, key_starts, key_sizes, value_starts, value_sizes,
        heads, borns;
    GET DIAGNOSTICS written = ROW_COUNT;
    IF written <> total THEN
        RAISE EXCEPTION 'the batch holds % records, not %', written, total USING ERRCODE = 'PSL02';
    END IF;
    RETURN answer;
END $$;

-- The whole commit of a topic's writer in one message: a client that stalls holds no lock.
-- Readers are woken after the commit, since a NOTIFY inside would serialise all commits.
CREATE OR REPLACE PROCEDURE penstock.topic_commit(
    log int, shares jsonb, parts int[], ranks int[], key_starts int[], key_sizes int[], keys bytea,
    value_starts int[], value_sizes int[], vals bytea, heads text[], borns bigint[],
    lane text[], moves jsonb, fencing boolean, INOUT bases jsonb
) LANGUAGE plpgsql AS $$
BEGIN
    IF moves IS NOT NULL THEN
        PERFORM penstock.move_progress(lane, moves, fencing);
    END IF;
    bases := penstock.log_append(log, shares, parts, ranks, key_starts, key_sizes, keys,
                                 value_starts, value_sizes, vals, heads, borns);
    COMMIT;
    PERFORM pg_notify('penstock_log_' || log, '');
END $$;

-- Lands responses with the cursor after them (null: as it is), if the cursor is still the one that
-- was read; tells whether a run is done in the same transaction.
CREATE OR REPLACE PROCEDURE penstock.land(
    log int, shares jsonb, parts int[], ranks int[], key_starts int[], key_sizes int[], keys bytea,
    value_starts int[], value_sizes int[], vals bytea, heads text[], borns bigint[],
    run_id text, expected bigint, after text, done boolean
) LANGUAGE plpgsql AS $$
DECLARE
    own boolean := EXISTS (SELECT FROM penstock.landing_cursors c
                           WHERE c.id = log AND c.run = run_id AND c.run <> '' AND c.apart);
BEGIN
    UPDATE penstock.landing_cursors c
    SET cursor = coalesce(after, c.cursor), version = c.version + 1, updated_at = now(),
        finished = own AND done
    WHERE c.id = log AND c.run = CASE WHEN own THEN run_id ELSE '' END AND c.version = expected
        AND NOT c.finished
    RETURNING c.cursor INTO after;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'another process has ingested into %', penstock.log_table(log)
            USING ERRCODE = 'PSF01';
    END IF;
    IF run_id <> '' AND NOT own THEN
        INSERT INTO penstock.landing_cursors AS c (id, run, cursor, finished)
        VALUES (log, run_id, after, done)
        ON CONFLICT (id, run) DO UPDATE SET cursor = after, finished = done, updated_at = now()
        WHERE NOT c.finished;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'run % is finished already', run_id USING ERRCODE = 'PSF01';
        END IF;
    END IF;
    PERFORM penstock.log_append(log, shares, parts, ranks, key_starts, key_sizes, keys,
                                value_starts, value_sizes, vals, heads, borns);
    COMMIT;
    PERFORM pg_notify('penstock_log_' || log, '');
END $$;

-- For people: bytes as what they mean, or null where they are no JSON that PostgreSQL can hold.
CREATE OR REPLACE FUNCTION penstock.as_json(bytes bytea) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
BEGIN
    RETURN convert_from(bytes, 'UTF8')::jsonb;
EXCEPTION WHEN others THEN
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION penstock.as_text(bytes bytea) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
BEGIN
    RETURN convert_from(bytes, 'UTF8');
EXCEPTION WHEN others THEN
    RETURN encode(bytes, 'escape');
END $$;

CREATE OR REPLACE FUNCTION penstock.as_headers(headers text) RETURNS jsonb
LANGUAGE sql IMMUTABLE STRICT AS $$
    SELECT jsonb_object_agg(h->>0, penstock.as_text(decode(h->>1, 'base64')))
    FROM jsonb_array_elements(headers::jsonb) AS h
$$;

-- Retention. A child is sealed when no more records can come into it; only sealed children go.

CREATE OR REPLACE FUNCTION penstock.log_child(log int, part int, low bigint) RETURNS regclass
LANGUAGE sql STABLE AS $$
    SELECT to_regclass(format('penstock.%I', format('log_%s_%s_%s', log, part, low)))
$$;

-- Ends the child that is being written at the next offset, if it holds records, and begins
-- another in place of what was made ahead.
CREATE OR REPLACE FUNCTION penstock.log_cut(log int, part int) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    head penstock.log_heads;
    child penstock.log_children;
    parent text := penstock.log_table(log);
    relation regclass;
BEGIN
    SELECT * INTO head FROM penstock.log_heads WHERE id = log AND partition = part FOR UPDATE;
    SELECT * INTO child FROM penstock.log_children
    WHERE id = log AND partition = part AND lower < head.next AND upper > head.next;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    FOR relation IN
        DELETE FROM penstock.log_children WHERE id = log AND partition = part AND lower > head.next
        RETURNING penstock.log_child(log, part, lower)
    LOOP
        EXECUTE format('DROP TABLE %s', relation);
    END LOOP;
    relation := penstock.log_child(log, part, child.lower);
    EXECUTE format('ALTER TABLE %s DETACH PARTITION %s', parent, relation);
    EXECUTE format('ALTER TABLE %s ATTACH PARTITION %s FOR VALUES FROM (%s, %s) TO (%s, %s)',
                   parent, relation, part, child.lower, part, head.next);
    UPDATE penstock.log_children SET upper = head.next
    WHERE id = log AND partition = part AND lower = child.lower;
    UPDATE penstock.log_heads SET room = head.next WHERE id = log AND partition = part;
    PERFORM penstock.log_extend(log, part, head.next + 1);
END $$;

-- Drops the oldest child, if it is still the one that begins at `low`.
CREATE OR REPLACE FUNCTION penstock.log_drop(log int, part int, low bigint) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    gone penstock.log_children;
BEGIN
    PERFORM 1 FROM penstock.log_heads
    WHERE id = log AND partition = part AND start = low FOR UPDATE;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    DELETE FROM penstock.log_children
    WHERE id = log AND partition = part AND lower = low RETURNING * INTO gone;
    EXECUTE format('DROP TABLE %s', penstock.log_child(log, part, low));
    UPDATE penstock.log_heads SET start = gone.upper WHERE id = log AND partition = part;
    RETURN gone.upper - gone.lower;
END $$;

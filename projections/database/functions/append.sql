-- The append: inserts events and upserts the rows of the inline projections that follow from them, or does neither.
-- Returns the positions of the events. A row belongs to the projection that alone has some column of it.
--
-- It is one call, so a client cannot freeze while it holds the writer lock. The lock makes commit order and position
-- order the same, which readers of the log rely on. Positions are counted from the log itself, not taken from a
-- sequence, so a refused append leaves no gap.
--
-- code_key_id, codes: NULL where the writer has no key. earliest: the earliest time of an event, as the states spell it.
-- node_time: the writer's own clock, now. Refuses, each with a state of its own:
--   KL001  the log's last event has a later time, which is the message
--   KL002  the writer's clock is more than five seconds off the database's; the message is by how many seconds
--   KL003  the log's last event has a code and the new ones have none

DROP FUNCTION IF EXISTS keyledger_append(uuid[], bigint[], text[], bytea[], jsonb);

CREATE OR REPLACE FUNCTION keyledger_append(
    streams uuid[], versions bigint[], topics text[], states bytea[], code_key_id text, codes bytea[],
    earliest text, node_time timestamptz, view_rows jsonb
) RETURNS SETOF bigint LANGUAGE plpgsql AS $$
DECLARE
    head record;
    behind numeric := extract(epoch FROM clock_timestamp() - node_time);
    at_head text;
BEGIN
    IF abs(behind) > 5 THEN
        RAISE EXCEPTION '%', round(behind, 1) USING ERRCODE = 'KL002';
    END IF;
    -- An acknowledged command survives a crash, whatever the server's default is. Stricter settings stay.
    IF current_setting('synchronous_commit') = 'off' THEN
        SET LOCAL synchronous_commit = on;
    END IF;
    PERFORM keyledger_lock_log();
    SELECT e.notification_id AS position, e.code IS NOT NULL AS coded,
           substring(encode(e.state, 'escape') FROM '"timestamp":"([0-9T:.+-]{32})"') COLLATE "C" AS time
      INTO head FROM keyledger_events AS e ORDER BY e.notification_id DESC LIMIT 1;
    -- All times have one spelling, so their order as texts is their order in time. No node writes one in the future.
    at_head := to_char((clock_timestamp() + interval '5 seconds') AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US+00:00');
    IF head.time > earliest AND head.time <= at_head THEN
        RAISE EXCEPTION '%', head.time USING ERRCODE = 'KL001';
    END IF;
    IF head.coded AND codes IS NULL THEN
        RAISE EXCEPTION 'an event needs a code' USING ERRCODE = 'KL003';
    END IF;
    RETURN QUERY
        INSERT INTO keyledger_events AS into_log
               (originator_id, originator_version, topic, state, notification_id, code_key_id, code)
        SELECT e.stream, e.version, e.topic, e.state, coalesce(head.position, 0) + e.nth,
               keyledger_append.code_key_id, e.code
          FROM unnest(streams, versions, topics, states, codes)
               WITH ORDINALITY AS e (stream, version, topic, state, code, nth)
         ORDER BY e.nth
        RETURNING into_log.notification_id;
    INSERT INTO current_credentials SELECT * FROM jsonb_populate_recordset(NULL::current_credentials, view_rows) AS one
                                     WHERE one.provider IS NOT NULL
        ON CONFLICT (tenant_id, provider) DO UPDATE SET
            version = excluded.version, token = excluded.token, binding = excluded.binding, key_id = excluded.key_id,
            masked_key = excluded.masked_key, endpoint = excluded.endpoint, api_version = excluded.api_version,
            deployment_name = excluded.deployment_name, set_at = excluded.set_at, stream_id = excluded.stream_id;
    INSERT INTO access_keys SELECT * FROM jsonb_populate_recordset(NULL::access_keys, view_rows) AS one
                             WHERE one.name IS NOT NULL
        ON CONFLICT (name) DO UPDATE SET
            version = excluded.version, digest = excluded.digest, previous = excluded.previous,
            stream_id = excluded.stream_id;
    INSERT INTO tenants SELECT * FROM jsonb_populate_recordset(NULL::tenants, view_rows) AS one
                         WHERE one.registered IS NOT NULL
        ON CONFLICT (tenant_id) DO UPDATE SET
            version = excluded.version, frozen = excluded.frozen, registered = excluded.registered;
END $$;

-- The append: inserts events and upserts the rows of `current_credentials` that follow from them, or does neither.
-- Returns the positions of the events.
--
-- It is one call, so a client cannot freeze while it holds the writer lock. The lock makes commit order and position
-- order the same, which readers of the log rely on. Positions are counted from the log itself, not taken from a
-- sequence, so a refused append leaves no gap.

CREATE OR REPLACE FUNCTION keyledger_append(
    streams uuid[], versions bigint[], topics text[], states bytea[], view_rows jsonb
) RETURNS SETOF bigint LANGUAGE plpgsql AS $$
DECLARE
    head bigint;
BEGIN
    -- An acknowledged command survives a crash, whatever the server's default is. Stricter settings stay.
    IF current_setting('synchronous_commit') = 'off' THEN
        SET LOCAL synchronous_commit = on;
    END IF;
    PERFORM keyledger_lock_log();
    SELECT coalesce(max(notification_id), 0) INTO head FROM keyledger_events;
    RETURN QUERY
        INSERT INTO keyledger_events (originator_id, originator_version, topic, state, notification_id)
        SELECT e.stream, e.version, e.topic, e.state, head + e.nth
          FROM unnest(streams, versions, topics, states) WITH ORDINALITY AS e (stream, version, topic, state, nth)
         ORDER BY e.nth
        RETURNING notification_id;
    INSERT INTO current_credentials SELECT * FROM jsonb_populate_recordset(NULL::current_credentials, view_rows)
        ON CONFLICT (tenant_id, provider) DO UPDATE SET
            version = excluded.version, token = excluded.token, binding = excluded.binding, key_id = excluded.key_id,
            masked_key = excluded.masked_key, endpoint = excluded.endpoint, api_version = excluded.api_version,
            deployment_name = excluded.deployment_name, set_at = excluded.set_at, stream_id = excluded.stream_id;
END $$;

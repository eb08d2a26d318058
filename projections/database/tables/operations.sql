-- What running services tell each other. Nothing here is the record of anything: the log is, so these rows may be lost.

-- Which services run on this database, and which encryption keys they know. The row of a service that ended without
-- removing it is recognised by an old `seen_at`.
CREATE TABLE IF NOT EXISTS nodes (
    node_id        uuid        PRIMARY KEY,
    name           text        NOT NULL,
    process        text        NOT NULL,         -- machine and process id: services on the same machine see whether it died
    primary_key_id text        NOT NULL,
    key_ids        text[]      NOT NULL,
    version        text        NOT NULL,         -- of the program, with the form of events that it reads
    seen_at        timestamptz NOT NULL DEFAULT now(),
    codes          bytea[]     NOT NULL DEFAULT '{}', -- in the order of key_ids; they show that a node with the keys wrote the row
    checkpoint     text,                         -- the last one that the node signed
    epoch          text        NOT NULL DEFAULT '' -- of the server that last confirmed the node: its timeline
);
ALTER TABLE nodes ADD COLUMN IF NOT EXISTS epoch text NOT NULL DEFAULT '';

-- Progress of each rotation of the encryption key, for those who watch it.
CREATE TABLE IF NOT EXISTS key_rotations (
    rotation_id      uuid        PRIMARY KEY,
    key_id           text        NOT NULL,
    actor            text        NOT NULL,
    state            text        NOT NULL,
    total            bigint      NOT NULL,
    reencrypted      bigint      NOT NULL DEFAULT 0,
    skipped          bigint      NOT NULL DEFAULT 0,
    failed           bigint      NOT NULL DEFAULT 0,
    unopened         jsonb       NOT NULL DEFAULT '[]',
    cancel_requested boolean     NOT NULL DEFAULT false,
    started_at       timestamptz NOT NULL,
    updated_at       timestamptz NOT NULL DEFAULT now(),
    finished_at      timestamptz
);

-- Progress of each replay that a service runs, for those who watch it.
CREATE TABLE IF NOT EXISTS projection_replays (
    replay_id   uuid        PRIMARY KEY,
    projection  text        NOT NULL,
    actor       text        NOT NULL,
    swap        text        NOT NULL,
    state       text        NOT NULL,
    done        bigint      NOT NULL DEFAULT 0,
    total       bigint      NOT NULL DEFAULT 0,
    result      jsonb,                           -- once completed
    failure     text,
    started_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz
);

-- What no program can read. It would be an outage to everyone who reads the table.
ALTER TABLE key_rotations DROP CONSTRAINT IF EXISTS key_rotations_readable;
ALTER TABLE key_rotations ADD CONSTRAINT key_rotations_readable CHECK (
         extract(year FROM started_at AT TIME ZONE 'UTC') BETWEEN 1 AND 9998
     AND extract(year FROM updated_at AT TIME ZONE 'UTC') BETWEEN 1 AND 9998
     AND extract(year FROM finished_at AT TIME ZONE 'UTC') BETWEEN 1 AND 9998
     AND state IN ('running', 'completed', 'cancelled', 'failed', 'interrupted')
     AND jsonb_typeof(unopened) = 'array'
     AND NOT jsonb_path_exists(unopened, 'strict $[*] ? (@.type() != "array" || @.size() != 3)')
     AND NOT jsonb_path_exists(unopened, 'lax $[*][*] ? (@.type() != "string")'));

-- What no program can read. It would be an outage to everyone who reads the table.
ALTER TABLE projection_replays DROP CONSTRAINT IF EXISTS projection_replays_readable;
ALTER TABLE projection_replays ADD CONSTRAINT projection_replays_readable CHECK (
         extract(year FROM started_at AT TIME ZONE 'UTC') BETWEEN 1 AND 9998
     AND extract(year FROM updated_at AT TIME ZONE 'UTC') BETWEEN 1 AND 9998
     AND extract(year FROM finished_at AT TIME ZONE 'UTC') BETWEEN 1 AND 9998);

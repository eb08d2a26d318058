-- How far each projection that catches up with the log has come. A projection without a row is at 0.

CREATE TABLE IF NOT EXISTS projection_positions (
    projection text   PRIMARY KEY,
    position   bigint NOT NULL                   -- the last position of the log that the projection shows
);
COMMENT ON TABLE projection_positions IS 'How far each view that follows the log has come.';

"""The statements with which events are found in many streams at once: the newest of each, and that of a command."""

NEWEST = """
SELECT e.notification_id, e.originator_id, e.originator_version, e.topic, e.state, e.code_key_id, e.code
  FROM unnest(%b::uuid[]) AS wanted (stream), LATERAL (
       SELECT * FROM keyledger_events WHERE originator_id = wanted.stream ORDER BY originator_version DESC LIMIT 1) AS e
"""
FIND_ALL = """
SELECT e.notification_id, e.originator_id, e.originator_version, e.topic, e.state, e.code_key_id, e.code,
       wanted.command_id
  FROM unnest(%b::uuid[], %s::text[]) AS wanted (stream, command_id), LATERAL (
       SELECT * FROM keyledger_events
        WHERE originator_id = wanted.stream
          AND convert_from(state, 'UTF8')::jsonb ->> 'command_id' = wanted.command_id
        ORDER BY originator_version LIMIT 1) AS e
"""

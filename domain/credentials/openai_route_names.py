"""The names of the groups of routes of OpenAI's API that only some providers have: the first path of each."""

COMPLETIONS = "completions"
MODERATIONS = "moderations"
IMAGES = "images/generations"
EDITS = "images/edits"
VARIATIONS = "images/variations"
SPEECH = "audio/speech"
TRANSCRIPTIONS = "audio/transcriptions"
TRANSLATIONS = "audio/translations"
RERANK = "rerank"
RESPONSES = "responses"
FILES = "files"
BATCHES = "batches"
REALTIME = "realtime"
"""A WebSocket, which providers have on their own API only."""

ALL_ROUTES = frozenset(
    (
        *(COMPLETIONS, MODERATIONS, IMAGES, EDITS, VARIATIONS, SPEECH, TRANSCRIPTIONS, TRANSLATIONS, RERANK),
        *(RESPONSES, FILES, BATCHES),
    )
)

"""The names of the routes of OpenAI's API that only some providers have: their paths below `.../openai/v1`."""

COMPLETIONS = "completions"
MODERATIONS = "moderations"
IMAGES = "images/generations"
EDITS = "images/edits"
VARIATIONS = "images/variations"
SPEECH = "audio/speech"
TRANSCRIPTIONS = "audio/transcriptions"
TRANSLATIONS = "audio/translations"
RERANK = "rerank"

ALL_ROUTES = frozenset(
    (COMPLETIONS, MODERATIONS, IMAGES, EDITS, VARIATIONS, SPEECH, TRANSCRIPTIONS, TRANSLATIONS, RERANK)
)

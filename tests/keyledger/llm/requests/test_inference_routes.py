"""The members of inference routes are those of the official clients, without the ones that keep state."""

from importlib import import_module
from typing import get_type_hints

import pytest

from keyledger.llm.requests.inference_routes import KEEPING_STATE, ROUTES

PARAMETERS = {
    "chat/completions": ("openai.types.chat.completion_create_params", "CompletionCreateParamsNonStreaming"),
    "completions": ("openai.types.completion_create_params", "CompletionCreateParamsNonStreaming"),
    "responses": ("openai.types.responses.response_create_params", "ResponseCreateParamsNonStreaming"),
    "embeddings": ("openai.types.embedding_create_params", "EmbeddingCreateParams"),
    "images/generations": ("openai.types.image_generate_params", "ImageGenerateParamsNonStreaming"),
    "images/edits": ("openai.types.image_edit_params", "ImageEditParamsNonStreaming"),
    "images/variations": ("openai.types.image_create_variation_params", "ImageCreateVariationParams"),
    "audio/speech": ("openai.types.audio.speech_create_params", "SpeechCreateParams"),
    "audio/transcriptions": (
        "openai.types.audio.transcription_create_params",
        "TranscriptionCreateParamsNonStreaming",
    ),
    "audio/translations": ("openai.types.audio.translation_create_params", "TranslationCreateParams"),
    "moderations": ("openai.types.moderation_create_params", "ModerationCreateParams"),
    "messages": ("anthropic.types.message_create_params", "MessageCreateParamsNonStreaming"),
}
OF_THE_ACCOUNT = {"user_profile_id", "workspace_id"}
"""Sent as headers by Anthropic's client; they name a part of the account."""


@pytest.mark.parametrize("route", PARAMETERS)
def test_every_parameter_of_the_official_clients_passes_or_keeps_state(route: str) -> None:
    module, name = PARAMETERS[route]
    known = set(get_type_hints(getattr(import_module(module), name)))
    assert known - ROUTES[route].members - KEEPING_STATE - OF_THE_ACCOUNT == set()


def test_what_keeps_state_passes_nowhere_but_as_another_parameter() -> None:
    both = {(path, name) for path, route in ROUTES.items() for name in route.members & KEEPING_STATE}
    assert {path for path, name in both} == {"completions"} | {
        path for path, _ in both if path.startswith(("im", "au"))
    }
    assert {name for _, name in both} == {"prompt"}, "a text there, and a template in the Responses API"

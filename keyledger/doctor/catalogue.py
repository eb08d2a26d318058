"""The catalogue of models: whether it can be read, which models are left out or will end, and how many are served."""

from collections.abc import Iterator

from keyledger.doctor.circumstances import Circumstances
from keyledger.doctor.finding import Finding, fault, ok, warning
from keyledger.settings.ai_models import load_catalogue
from keyledger.settings.catalogue_notes import catalogue_notes
from keyledger.settings.errors import SettingsError

SUBJECT = "catalogue"


def look(here: Circumstances) -> Iterator[Finding]:
    """Report every fault of the file, or else notes about its models."""
    settings = here.known_settings()
    try:
        catalogue = load_catalogue(settings.ai_models_file, settings.providers)
    except SettingsError as refused:
        for line in refused.lines:
            yield fault(SUBJECT, line, "keyledger config check")
        return
    for note in catalogue_notes(catalogue, settings.providers, here.clock().date()):
        yield warning(SUBJECT, note, "keyledger config check")
    yield ok(SUBJECT, f"{catalogue.source} serves {len(catalogue.models)} models")

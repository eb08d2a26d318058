"""The guided tour and the demo that it stands on."""

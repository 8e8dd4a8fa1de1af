"""The editor of flags: rules as a list that people can read, beside the definition as JSON."""

from valhalla.server.console.flag_editor.editor import Editor
from valhalla.server.console.flag_editor.words import in_words

__all__ = ["Editor", "in_words"]

"""What can be wrong with a request about exports."""

from __future__ import annotations

from valhalla.kernel.problems import Conflict, Forbidden, Invalid, NotFound, Problem


class ExportNotFound(NotFound):
    """No export has this id, or it is of data that the key may not see."""

    code = "export-not-found"
    title = "There is no such export"
    help = "'valhalla export list' lists them."


class UnknownSource(NotFound):
    """Nothing that can be exported has this name."""

    code = "export-unknown-source"
    title = "There is nothing of this name to export"
    help = "GET /system/exports/sources lists what there is; a view must be in the setting export_views."


class BadExport(Invalid):
    """The export contradicts itself."""

    code = "export-invalid"
    title = "This cannot be exported"
    help = "Correct the members that are named."


class ExportNotReady(Conflict):
    """Its files are not there: it is not completed, or they have been removed."""

    code = "export-not-ready"
    title = "The export has no files"
    help = "Wait until it is completed, or export again; files are removed when they expire."


class ExportElsewhere(Conflict):
    """Its files are on the machine of another control plane."""

    code = "export-elsewhere"
    title = "The files are not on this machine"
    help = "Ask the control plane that made them, or let all of them keep exports in S3 (export_store)."


class BadSignature(Forbidden):
    """The address was not made here, or its time is over."""

    code = "export-link-invalid"
    title = "This download address is not valid, or not any more"
    help = "Ask for a new one with POST /system/exports/{id}/links."


class StorageAway(Problem):
    """The S3-compatible storage did not take or give a file."""

    code = "export-storage-away"
    status = 503
    title = "The storage of exports cannot be reached"
    help = "Check export_store, its credentials and that the bucket exists; the export goes on by itself."

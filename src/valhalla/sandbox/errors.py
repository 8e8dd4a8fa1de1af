"""The sandbox feature's problems."""

from __future__ import annotations

from valhalla.kernel.problems import Conflict, Invalid, NotFound, Problem


class SandboxNotFound(NotFound):
    """No sandbox of this id or name exists for the caller."""

    code = "sandbox-not-found"
    title = "There is no such sandbox"
    help = "'valhalla sandbox ls' lists yours; add --all to see ended ones."


class NameTaken(Conflict):
    """A live sandbox already has the name."""

    code = "sandbox-name-taken"
    title = "A live sandbox has this name already"
    help = "Choose another name, leave it out to get one, or remove the sandbox that has it."


class OwnerLimit(Conflict):
    """The owner already has as many live sandboxes as allowed."""

    code = "sandbox-owner-limit"
    title = "The owner has reached the limit of live sandboxes"
    help = "Remove one with 'valhalla sandbox rm NAME', or ask the operator to raise 'max_sandboxes_per_owner'."


class RouteTaken(Conflict):
    """Another live sandbox holds the route."""

    code = "route-taken"
    title = "Another sandbox holds this route"
    help = "Unlink it there first, or use another key."


class RouteNotFound(NotFound):
    """The sandbox does not hold the route."""

    code = "route-not-found"
    title = "The sandbox has no such route"
    help = "'valhalla sandbox status NAME' lists its routes."


class NotRunning(Conflict):
    """The operation needs a running sandbox."""

    code = "sandbox-not-running"
    title = "The sandbox is not running"
    help = "Only a running sandbox can do that; create a new one with 'valhalla sandbox new'."


class KeyReuse(Problem):
    """The same Idempotency-Key came with a different request (draft-ietf-httpapi-idempotency-key-header)."""

    code = "idempotency-key-reuse"
    status = 422
    title = "This Idempotency-Key was used for a different request"
    help = "Use a new key for a new request; repeat the exact request to retry."


class InProgress(Conflict):
    """The first request with this Idempotency-Key has not finished."""

    code = "idempotency-in-progress"
    title = "The first request with this Idempotency-Key is still running"
    help = "Wait and repeat the same request."


class SliceUnknown(Invalid):
    """A slice was asked for that no sandbox can have, or none at all."""

    code = "slice-unknown"
    title = "There is no such slice"
    help = "Ask for one or more of the slices in 'known', or leave them out: postgres, valkey and nats are the default."


class SliceMissing(Conflict):
    """The operation needs a slice that the sandbox was made without."""

    code = "slice-missing"
    title = "The sandbox does not have this slice"
    help = "Make a sandbox that has it: 'valhalla sandbox new --slices postgres,...'."


class TemplateUnknown(Invalid):
    """No template of this name is configured."""

    code = "template-unknown"
    title = "There is no such template"
    help = "Use one of the templates in 'known', or put a folder of .sql files into the templates directory."


class TemplateFailed(Problem):
    """The template's own SQL or command failed; nothing of the sandbox is left."""

    code = "template-failed"
    status = 422
    title = "The template failed"
    help = "Run the named file or command against an empty database, correct it, and create the sandbox again."


class TemplateTaken(Conflict):
    """The name is that of a template which a snapshot must not replace."""

    code = "template-taken"
    title = "A template has this name already"
    help = "Choose another name; your own snapshot is replaced with 'replace' (--replace)."


class SnapshotNotFound(NotFound):
    """There is no snapshot of this name; other templates are not the API's to remove."""

    code = "snapshot-not-found"
    title = "There is no such snapshot"
    help = "'valhalla template ls' lists templates; only snapshots can be removed there."


class SnapshotUnsupported(Problem):
    """The sandbox holds something that a snapshot cannot carry; nothing was made."""

    code = "snapshot-unsupported"
    status = 422
    title = "The sandbox holds what a snapshot cannot carry"
    help = "Drop the things in 'objects' and try again, or write a template with .sql files."


class SnapshotTooLarge(Problem):
    """The sandbox holds more than a snapshot may; nothing was made."""

    code = "snapshot-too-large"
    status = 422
    title = "The sandbox holds more than a snapshot may"
    help = "Delete rows that nobody needs, or ask the operator to raise 'snapshot_mb'."


class SnapshotFailed(Problem):
    """Postgres refused to tell what the sandbox holds; nothing was made."""

    code = "snapshot-failed"
    status = 422
    title = "The snapshot could not be made"
    help = "The detail is what Postgres says to the sandbox's own login. End what locks its tables, then try again."


class CreateFailed(Problem):
    """A step of the creation failed for a reason that is not the caller's; nothing is left."""

    code = "sandbox-create-failed"
    status = 503
    title = "The sandbox could not be made"
    help = "Nothing was left behind. 'valhalla doctor' says whether a backend is at fault; then try again."

"""The page of a problem for people: what its code means and what to do. No script, nothing from elsewhere."""

from __future__ import annotations

from html import escape
from typing import Any, Final

from starlette.responses import HTMLResponse

from valhalla.kernel.problems import Problem

HTML: Final[dict[str, Any]] = {"content": {"text/html": {"schema": {"type": "string"}}}}
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"
_PAGE: Final = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{code}: {title}</title>
<style>
body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 40rem; margin: 3rem auto; padding: 0 1rem }}
body {{ color: #222; background: #fff }}
code {{ background: #8881; padding: .1em .3em }}
@media (prefers-color-scheme: dark) {{ body {{ color: #ddd; background: #181818 }} }}
</style>
<h1>{title}</h1>
<p><code>{code}</code> is answered with status {status}.</p>
<h2>What it means</h2>
{meaning}
<h2>What to do</h2>
<p>{help}</p>
<p>The answer itself says more in <code>detail</code>, and its <code>correlation_id</code> is what an operator looks for
in the logs.</p>
"""


def wants_html(accept: str | None) -> bool:
    """Say whether ``text/html`` is preferred to JSON; who takes anything gets JSON."""
    if accept is None:
        return False
    best: dict[str, float] = {}
    for part in accept[:1000].split(","):
        kind, _, rest = part.partition(";")
        best[kind.strip().lower()] = _quality(rest)
    html = best.get("text/html", 0.0)
    return html > 0.0 and html >= max(best.get("application/json", 0.0), best.get("application/problem+json", 0.0))


def _quality(parameters: str) -> float:
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


def page(code: str, kind: type[Problem], meaning: str) -> HTMLResponse:
    """Return the page of a code."""
    paragraphs = "\n".join(f"<p>{escape(each)}</p>" for each in meaning.split("\n\n"))
    content = _PAGE.format(
        code=escape(code), title=escape(kind.title), status=kind.status, meaning=paragraphs, help=escape(kind.help)
    )
    headers = {"Content-Security-Policy": _POLICY, "X-Content-Type-Options": "nosniff", "Vary": "Accept"}
    return HTMLResponse(content, headers=headers)

"""``valhalla ingress proxy``."""

from __future__ import annotations

from typing import Any, Final

import click

from valhalla.cli import arguments
from valhalla.cli.invocation import Invocation, pass_invocation, shared_options
from valhalla.cli.serving import Serving, serving_options
from valhalla.sdk.discovery import data_directory

_INSTEAD: Final = click.Choice(["refuse", "production"])
_SECONDS: Final = click.FloatRange(min=0.01, max=3600)


@click.command("proxy")
@click.option("--production", required=True, metavar="URL", help="Where requests go that are no sandbox's.")
@click.option("--listen", type=arguments.endpoint, default="127.0.0.1:0", metavar="HOST:PORT", help="Where it listens.")
@click.option(
    "--header",
    "headers",
    multiple=True,
    help="A header whose claims count: name only one that callers cannot write themselves. Repeatable.",
)
@click.option("--trust-names", is_flag=True, help="Who names a sandbox needs no routing key: for private networks.")
@click.option("--ended", type=_INSTEAD, default="production", show_default=True, help="When the sandbox has ended.")
@click.option("--down", type=_INSTEAD, default="refuse", show_default=True, help="When its upstream is not there.")
@click.option("--blind", type=_INSTEAD, default="production", show_default=True, help="Unclaimed ones, without NATS.")
@click.option("--connect-timeout", type=_SECONDS, default=5.0, show_default=True, help="Seconds to connect.")
@click.option("--answer-timeout", type=_SECONDS, default=60.0, show_default=True, help="Seconds of silence.")
@click.option("--max-body", type=click.IntRange(0), default=0, help="Most bytes of a request's body; 0: any.")
@click.option("--own-host", is_flag=True, help="Ask production under the name in its URL, not the caller's.")
@click.option("--metrics", type=arguments.endpoint, metavar="HOST:PORT", help="Where Prometheus may ask.")
@click.option("--grace", type=click.FloatRange(min=0), default=10.0, show_default=True, help="Seconds to end at stop.")
@serving_options
@shared_options
@pass_invocation
def command(
    invocation: Invocation,
    production: str,
    listen: tuple[str, int],
    headers: tuple[str, ...],
    ended: Any,
    down: Any,
    blind: Any,
    connect_timeout: float,
    answer_timeout: float,
    max_body: int,
    grace: float,
    metrics: tuple[str, int] | None,
    *,
    trust_names: bool,
    own_host: bool,
    **said: Any,
) -> int:
    """Send each request to the sandbox that it belongs to, and all others to production.

    A request is a sandbox's by a claimed header ('valhalla sandbox link NAME header:x-test-user=alice', and --header
    x-test-user here), or by the routing key that 'valhalla sandbox upstream' prints: in the header
    valhalla-routing-key, in baggage as valhalla-sandbox=NAME;key=KEY, or in the path as /.valhalla/KEY/….

    \b
    Example:
      valhalla ingress proxy --production http://127.0.0.1:8000 --header x-test-user --listen 127.0.0.1:8080
    """
    from valhalla.sandbox.routing.http.proxy.connecting import Patience
    from valhalla.sandbox.routing.http.proxy.contracts import Terms
    from valhalla.server.proxying import Listening, proxy

    host, port = listen
    return proxy(
        Serving.of(**said).options(data_directory(invocation.data_dir)),
        production,
        Terms(headers=headers, trust_names=trust_names, ended=ended, down=down, blind=blind),
        Listening(host=host, port=port, grace=grace, metrics=metrics),
        Patience(connect_timeout, answer_timeout),
        max_body=max_body,
        own_host=own_host,
    )

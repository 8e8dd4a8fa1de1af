"""``valhalla login``: into the console."""

from __future__ import annotations

import click

from valhalla.cli.invocation import Invocation, pass_invocation, shared_options
from valhalla.cli.output import emit, remark, say


@click.command("login")
@click.option("--open", "open_it", is_flag=True, help="Open it in the browser of this machine.")
@shared_options
@pass_invocation
def command(invocation: Invocation, open_it: bool) -> None:
    """Print a link that signs in to the console once, within five minutes, with the rights of your key.

    \b
    Example:
      valhalla login --open
    """
    with invocation.client() as client:
        from valhalla.sdk.console import login_link

        link = client.send(login_link())
        url = client.endpoint.url.rstrip("/") + link.path
    if invocation.json:
        emit({"url": url, "expires_at": link.expires_at.isoformat()})
    else:
        say(url)
        remark(invocation, "It signs in once, within five minutes.")
    if open_it:
        import webbrowser

        webbrowser.open(url)

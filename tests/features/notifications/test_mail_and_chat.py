"""Messages as mail, in chats, and in Alertmanager's form."""

from __future__ import annotations

import asyncio
from email import message_from_bytes
from email.policy import default
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP
from tests.features.notifications.conftest import Scene
from tests.features.notifications.receiver import Receiver

pytestmark = pytest.mark.slow


async def test_alertmanagers_receivers_are_served(scene: Scene, receiver: Receiver) -> None:
    await scene.channel("am", kind="webhook", webhook={"url": receiver.url, "form": "alertmanager"})
    await scene.rule("am", "am")
    await scene.happen("alert.opened", name="job.dead", severity="error", labels={"name": "import"}, fingerprint="f")
    await scene.happen("alert.resolved", name="job.dead", severity="error", labels={"name": "import"}, fingerprint="f")
    await receiver.wait(2)
    assert [got.payload["status"] for got in receiver.got] == ["firing", "resolved"]
    assert receiver.got[0].payload["alerts"][0]["labels"]["alertname"] == "job.dead"


class _Mailbox:
    """What a mail server took; it refuses one address."""

    def __init__(self) -> None:
        self.taken: list[tuple[list[str], bytes]] = []

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:  # noqa: N802
        if address == "nobody@example.com":
            return "550 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        self.taken.append((list(envelope.rcpt_tos), envelope.content))
        return "250 taken"


async def test_mail_arrives_once_per_message_and_nobody_adds_a_header(scene: Scene) -> None:
    box = _Mailbox()
    server = await asyncio.get_running_loop().create_server(lambda: SMTP(box), "127.0.0.1", 0)
    try:
        port = server.sockets[0].getsockname()[1]
        email = {"host": "127.0.0.1", "port": port, "security": "none", "sender": "Valhalla <v@example.com>",
                 "recipients": ["ops@example.com", "b@example.com"]}  # fmt: skip
        await scene.template(
            "short", "{{ event.title }}!", subject="{{ title }}\r\nBcc: x@y.example", html="<b>{{ title }}</b>"
        )
        await scene.channel("mail", kind="email", email=email)
        await scene.channel("pretty", kind="email", email=email, template="short")
        await scene.channel("refused", kind="email", email={**email, "recipients": ["nobody@example.com"]})
        title = "Broken\r\nBcc: thief@example.com\r\n\r\n<script>"
        first = await scene.send("mail", title)
        await scene.until(first, "delivered")
        second = await scene.send("pretty", title)
        await scene.until(second, "delivered")
        found, tries = await scene.until(await scene.send("refused", "x"), "failed")
    finally:
        server.close()
    assert (tries[0].outcome, tries[0].status) == ("refused", 550)
    assert found.error == "the mail server refuses every recipient"
    plain, pretty = [message_from_bytes(content, policy=default) for _, content in box.taken]
    assert plain["Bcc"] is None
    assert plain["Subject"].startswith("[ERROR] Broken Bcc: thief@example.com")
    assert plain["Message-ID"] == f"<{first}@example.com>"
    assert box.taken[0][0] == ["ops@example.com", "b@example.com"]
    assert pretty["Bcc"] is None
    assert pretty["Subject"].startswith("Broken")
    html: Any = pretty.get_body(("html",))
    assert "&lt;script&gt;" in html.get_content()


async def test_chat_goes_where_it_may_and_nowhere_else(scene: Scene, receiver: Receiver) -> None:
    where = f"json://127.0.0.1:{receiver.port}/hook"
    await scene.channel("chat", kind="apprise", apprise={"urls": [where]}, attempts=1)
    sent = await scene.send("chat", "Broken")
    await scene.until(sent, "delivered")
    assert receiver.got[0].payload["title"] == "[ERROR] Broken"
    await scene.channel("inside", kind="apprise", apprise={"urls": ["json://10.0.0.1/x"]}, attempts=1)
    found, _ = await scene.until(await scene.send("inside", "Broken"), "dead")
    assert found.error == "the target's address is private and no setting allows it"

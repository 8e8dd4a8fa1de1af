"""Mail by SMTP, over a connection whose address was checked."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP as POLICY
from email.utils import format_datetime
from typing import Final, cast

import aiosmtplib

from valhalla.features.data.notifications import payloads, rules
from valhalla.features.data.notifications.contracts import Delivery, Email
from valhalla.features.data.notifications.rendering import Renderer
from valhalla.features.data.notifications.senders.contracts import MOST_EXCERPT, Prepared, Result
from valhalla.kit import redact
from valhalla.kit.outgoing_guard import Reach, TargetRefused, trust
from valhalla.kit.outgoing_guard.dialing import Resolve, dial, system_resolve

_PERMANENT: Final = 500


class MailSender:
    """Sends one message to all recipients of a channel."""

    def __init__(
        self,
        prepared: Prepared,
        reach: Reach,
        renderer: Renderer,
        *,
        now: Callable[[], datetime],
        authorities: str | None = None,
        resolve: Resolve = system_resolve,
    ) -> None:
        """``reach`` says which servers may be talked to, ``authorities`` (PEM) whose certificates are good, too."""
        assert prepared.channel.email is not None
        self._channel = prepared.channel
        self._email: Email = prepared.channel.email
        self._password = prepared.secrets.password
        self._reach = reach
        self._authorities = authorities
        self._renderer = renderer
        self._now = now
        self._resolve = resolve
        self._context: ssl.SSLContext | None = None

    async def send(self, delivery: Delivery) -> Result:
        """Send once; what the server refuses for good of this message is ``refused``."""
        message = await self._message(delivery)
        try:
            async with asyncio.timeout(self._channel.timeout):
                return await self._transmit(message)
        except TargetRefused as problem:
            return Result("failed", error=problem.detail)
        except (TimeoutError, aiosmtplib.SMTPTimeoutError):
            return Result("failed", error=f"the mail server did not answer within {self._channel.timeout:g} s")
        except (aiosmtplib.SMTPException, OSError) as error:
            return _result(error)

    async def _transmit(self, message: EmailMessage) -> Result:
        email = self._email
        sock = await dial(self._reach, email.host, email.port, self._resolve)
        client = aiosmtplib.SMTP(
            hostname=email.host,
            sock=sock,
            use_tls=email.security == "tls",
            start_tls=email.security == "starttls",
            tls_context=self._tls() if email.security != "none" else None,
            timeout=self._channel.timeout,
        )
        try:
            await client.connect()
            if email.username is not None:
                await client.login(email.username, self._password or "")
            refused, said = await client.send_message(message)
        finally:
            # the socket is the transport's: closed beside it, its number would be another connection's while it still
            # listens there. A goodbye over TLS may be waited for long
            transport = cast("asyncio.WriteTransport | None", client.transport)
            client.close()
            if transport is not None:
                transport.abort()
        if refused:
            # the others have it: sent again they would have it twice
            said = f"refused: {len(refused)} of {len(email.recipients)}; {said}"
        return Result("delivered", 250, None, redact.text(said, limit=MOST_EXCERPT))

    async def _message(self, delivery: Delivery) -> EmailMessage:
        rendered = await self._renderer.render(delivery, self._channel.template)
        subject = payloads.subject(delivery) if rendered is None or rendered.subject is None else rendered.subject
        message = EmailMessage(policy=POLICY)
        # a line break in it would begin a header of the sender's choice
        message["Subject"] = rules.line(subject)
        message["From"] = self._email.sender
        message["To"] = ", ".join(self._email.recipients)
        message["Date"] = format_datetime(self._now())
        # the same in every attempt: mail programs drop what they have
        message["Message-ID"] = f"<{delivery.id}@{self._email.sender.rpartition('@')[2].rstrip('>')}>"
        message["X-Valhalla-Delivery"] = delivery.id
        message.set_content(payloads.text(delivery) if rendered is None else rendered.body)
        if rendered is not None and rendered.html is not None:
            message.add_alternative(rendered.html, subtype="html")
        return message

    def _tls(self) -> ssl.SSLContext:
        if self._context is None:
            self._context = trust.context(self._authorities, self._email.authorities)
        return self._context


def _result(error: Exception) -> Result:
    """Return what a failure of the exchange means."""
    match error:
        case aiosmtplib.SMTPAuthenticationError():
            return Result("failed", error.code, "the mail server refuses the user name or password", _said(error))
        case aiosmtplib.SMTPRecipientsRefused():
            code, why = max((each.code for each in error.recipients), default=0), "refuses every recipient"
        case aiosmtplib.SMTPResponseException():
            code, why = error.code, f"answered {error.code}"
        case _ if trust.is_untrusted(error):
            return Result("failed", error=f"the mail server {trust.UNTRUSTED}", excerpt=_said(error))
        case _:
            return Result("failed", error=f"no mail server: {type(error).__name__}", excerpt=_said(error))
    # 4xx is of the moment, 5xx of the message
    return Result("refused" if code >= _PERMANENT else "failed", code, f"the mail server {why}", _said(error))


def _said(error: Exception) -> str:
    return redact.text(str(error), limit=MOST_EXCERPT)

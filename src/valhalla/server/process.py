"""The process of a control plane: servers first, then the application, until a signal ends both."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

from valhalla.embedded import Endpoints, Stack
from valhalla.kernel.problems import Misconfigured
from valhalla.kit.cellkey import CellKey
from valhalla.server import files
from valhalla.server.options import ServeOptions
from valhalla.version import VERSION


def serve(options: ServeOptions) -> int:
    """Run the control plane in the foreground until SIGINT or SIGTERM; return the exit status.

    Raises:
        Problem: it cannot start; nothing is left running.
    """
    started = time.monotonic()
    # imports make many objects that live as long as the process: collecting in between only costs time
    gc.disable()
    with _signals_as_interrupts():
        try:
            # the heavy libraries load while the servers start
            loader = threading.Thread(target=_load, daemon=True)
            loader.start()
            from valhalla.kit.settings import load

            overrides = dict(options.overrides)
            if options.data_dir is not None:
                overrides["data_dir"] = options.data_dir
            settings = load(options.config, **overrides)
            data_dir = files.prepare(settings.data_dir)
            text = settings.cell_key
            cell = CellKey.parse(text.get_secret_value()) if text else CellKey.load_or_create(data_dir / "cell.key")
            stack = embedded_stack(settings, data_dir, cell)
            try:
                endpoints = stack.start(settle=False) if stack is not None else Endpoints()
                loader.join()
                return _run(settings, cell, endpoints, stack, started)
            finally:
                if stack is not None:
                    stack.stop()
        except KeyboardInterrupt:
            return 0


def embedded_stack(settings: Any, data_dir: Path, cell: CellKey, *, only: str | None = None) -> Stack | None:
    """Return the servers to start as children: those for which no external one is named, or ``only`` one of them."""
    external = {"postgres": settings.database_url, "valkey": settings.valkey_url, "nats": settings.nats_url}
    want = frozenset(name for name, url in external.items() if url is None and only in (None, name))
    if not want:
        return None
    trust = None
    if "nats" in want:
        from valhalla.kit import natsauth

        trust = natsauth.trust(cell)
    return Stack(data_dir, cell, want=want, nats_operator=trust)


def _run(settings: Any, cell: CellKey, endpoints: Endpoints, stack: Stack | None, started: float) -> int:
    import uvloop

    return uvloop.run(_main(settings, cell, endpoints, stack, started))


async def _main(settings: Any, cell: CellKey, endpoints: Endpoints, stack: Stack | None, started: float) -> int:
    import uvicorn

    from valhalla.kit import liblog, redact
    from valhalla.kit.log import configure
    from valhalla.runtime import Runtime
    from valhalla.server.app import build
    from valhalla.server.console.opening import sign_in_link
    from valhalla.server.starting import start

    configure(level=settings.log_level)
    liblog.capture(settings.log_level)
    redact.hide(settings.redact_fields)

    class Server(uvicorn.Server):
        @contextlib.contextmanager
        def capture_signals(self) -> Generator[None]:
            # uvicorn would raise the signal again after its shutdown, before ours
            yield

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            # at once: requests are waited for, and one that fills a sandbox from a template that hangs never ends
            ending = asyncio.create_task(runtime.sandboxes.close())
            await super().shutdown(sockets)
            await ending

    runtime = Runtime(settings, cell, endpoints)
    try:
        data_dir = settings.data_dir.resolve()
        await start(runtime, lambda key: files.keep_admin_key(data_dir, key))
        listener = _bind(settings)
        server = Server(
            uvicorn.Config(
                build(runtime),
                http="httptools",
                ws="websockets-sansio",
                ws_max_size=65_536,
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                # whoever the proxy says is asking decides nothing here
                proxy_headers=False,
                date_header=False,
                timeout_graceful_shutdown=10,
                ssl_certfile=settings.tls_cert,
                ssl_keyfile=settings.tls_key,
            )
        )
        loop = asyncio.get_running_loop()
        # whoever presses Ctrl-C has no balancer that must hear of it first
        for number, grace in ((signal.SIGINT, 0.0), (signal.SIGTERM, settings.drain_grace.total_seconds())):
            loop.add_signal_handler(number, _ask_to_stop, server, runtime, grace)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started and not serving.done():  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.002)
        url = _url(settings, listener)
        first_key = None if runtime.first_admin is None else runtime.first_admin.key
        files.write_control(data_dir, _control(url, data_dir, runtime, stack))
        gc.freeze()
        # a request's objects die by their counts; looking for cycles after every 700 of them took a tenth of a burst
        gc.set_threshold(20_000, 20, 20)
        gc.enable()
        link = await sign_in_link(runtime, data_dir / files.ADMIN_KEY)
        _announce(url, data_dir, first_key, link, time.monotonic() - started, runtime.findings)
        try:
            await serving
        finally:
            files.remove_control(data_dir)
    finally:
        await runtime.stop()
    return 0


def _ask_to_stop(server: Any, runtime: Any, grace: float) -> None:
    """First signal: be not ready, and stop gracefully after ``grace`` seconds; a further one: now."""
    if runtime.is_draining:
        server.force_exit = server.should_exit = True
        return
    runtime.drain()

    def stop() -> None:
        server.should_exit = True

    if grace > 0:
        asyncio.get_running_loop().call_later(grace, stop)
    else:
        stop()


def _bind(settings: Any) -> socket.socket:
    """Bind the configured port; without one, the port of the last run if it is free, else any."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    wanted = [settings.port] if settings.port else [*files.last_port(settings.data_dir), 0]
    for port in wanted:
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((settings.host, port))
        except OSError as error:
            listener.close()
            if port == wanted[-1]:
                raise Misconfigured(
                    f"cannot listen on {settings.host}:{port}: {error.strerror}",
                    help="Stop what uses the port, or choose another with --port.",
                    setting="port",
                ) from error
            continue
        listener.listen(2048)
        listener.setblocking(False)
        files.keep_port(settings.data_dir, listener.getsockname()[1])
        return listener
    raise AssertionError("the last port either binds or raises")


def _url(settings: Any, listener: socket.socket) -> str:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    scheme = "http" if settings.tls_cert is None else "https"
    return f"{scheme}://{host}:{listener.getsockname()[1]}"


def _control(url: str, data_dir: Path, runtime: Any, stack: Stack | None) -> dict[str, Any]:
    services: dict[str, Any] = runtime.services()
    for name, pid in (stack.pids() if stack is not None else {}).items():
        services[name]["pid"] = pid
    return {
        "pid": os.getpid(),
        "started": files.start_ticks(os.getpid()),
        "url": url,
        "version": VERSION,
        "data_dir": str(data_dir),
        "admin_key_file": str(data_dir / "admin.key"),
        "services": services,
    }


def _announce(url: str, data_dir: Path, first_key: str | None, link: str, seconds: float, findings: list[str]) -> None:
    lines = [
        f"Valhalla {VERSION} is ready ({seconds:.2f} s)",
        f"  url        {url}",
        f"  console    {url}{link}",
        f"  data       {data_dir}",
    ]
    if first_key is not None:
        lines.append(f"  admin key  {first_key}")
        lines.append(f"             shown once; also in {data_dir / 'admin.key'}")
    lines.extend(f"  note       {finding}" for finding in findings)
    lines.append("Ctrl-C stops it; 'valhalla sandbox new' in another terminal makes a sandbox.")
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


def _load() -> None:
    """Import what the application needs; an error shows when the main thread imports the same."""
    for name in ("uvloop", "uvicorn", "valhalla.runtime", "valhalla.server.app"):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


@contextlib.contextmanager
def _signals_as_interrupts() -> Generator[None]:
    """Until the event loop handles signals, SIGTERM ends the start like Ctrl-C: children are stopped on the way out."""

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
